//! Workloads as proptest draws and shrinks them.

use proptest::prelude::*;
use silvertine::{
    engine::text::{Name, Symbol},
    sim::log::{
        fault::{Fault, FaultKind, When},
        workload,
    },
};

use crate::probes;

fn symbols() -> Vec<Symbol> {
    ["AAA", "BBB"].map(|symbol| Symbol::new(symbol).expect("short")).to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_workload_survives_a_crash_at_any_input(
        workload in workload::strategy(symbols()),
        crash_after in 1_u64..300,
    ) {
        let subject = probes();
        let mut plan = subject.plan(0);
        plan.workloads = vec![(Name::new("drawn").expect("short"), workload)];
        plan.faults = vec![Fault::new(When::Events(crash_after), FaultKind::Crash)];
        let report = subject.run(&plan, false).expect("runs");
        prop_assert_eq!(report.violation, None);
    }
}
