//! Parked keys through the library: a broken handler, a mended one, and the logs in between.

use silvertine::{
    engine::{
        driver::RunError,
        executor::block_on,
        log::{EventLog, OwnerId},
        park::{ParkedKey, Release},
        pos::Pos,
        text::Name,
    },
    scenarios::{
        registry::Registry,
        runner::{RunReport, Runner, RunnerError},
    },
    storage::AnyLog,
};
use tempfile::TempDir;

use crate::halts::{EVENTS, UNBALANCED, executed_again, run_as};

fn release(key: &str, past: bool) -> Release {
    Release { key: key.parse::<ParkedKey>().expect("a key"), past }
}

fn run(
    log: &AnyLog,
    batch: u64,
    broken: bool,
    releases: &[Release],
) -> Result<RunReport, RunnerError> {
    let mut asked = Runner::new(Registry::standard(), OwnerId(1));
    asked.releases = releases.to_vec();
    run_as(log, batch, broken, "park-key", asked)
}

#[test]
fn what_is_parked_is_released_once_the_handler_is_mended() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut ends = Vec::new();
    for kind in ["memory", "sled", "redb"] {
        for batch in [1, 7, 1000] {
            let address = match kind {
                "memory" => kind.to_owned(),
                _ => format!("{kind}:{}", folder.path().join(format!("{kind}-{batch}")).display()),
            };
            let address = address.parse().expect("an address");
            let log = AnyLog::open(&address, Name::default(), false).expect("opens");

            let report = run(&log, batch, true, &[]).expect("it goes on");
            let [parked] = &report.parked[..] else { panic!("{:?}", report.parked) };
            assert_eq!(parked.key, release("booker:X", false).key);
            assert_eq!(
                (parked.first.seq, parked.reason.as_str()),
                (UNBALANCED, "the books do not balance")
            );
            // Two signals for every ten quotes; the failed one and all behind it wait.
            assert!(parked.events > 50, "{parked}");
            for broken in [true, false] {
                assert_eq!(executed_again(&log, broken).parked(), report.parked, "{address}");
            }

            let unknown =
                run(&log, batch, false, &[release("booker:X", false), release("booker:Y", false)]);
            let Err(RunnerError::Run(RunError::NotParked { key, .. })) = unknown else {
                panic!("{unknown:?}")
            };
            assert_eq!(key, release("booker:Y", false).key);
            let head = block_on(log.head()).expect("can be read").expect("is there");
            assert_eq!(head.pos, report.outcome.head, "nothing was changed");

            let again = run(&log, batch, true, &[release("booker:X", false)]).expect("goes on");
            assert_eq!(again.parked, report.parked, "it is not mended yet");
            let mended = run(&log, batch, false, &[release("booker:X", false)]).expect("goes on");
            assert_eq!(mended.parked, []);
            let counts = mended.outcome.counts;
            assert_eq!((counts.inputs, counts.handler_failures), (EVENTS + 2, 2), "two releases");
            // A build that fails on it would not have released it, so only the mended one gives this log.
            let engine = executed_again(&log, false);
            assert_eq!((engine.given_up(), engine.digest()), (0, mended.outcome.digest));
            // Every signal is booked once, as the numbers in what it booked say.
            ends.push((report.outcome.head, mended.outcome.head, mended.outcome.digest));
        }
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{ends:?}");
    assert_ne!(ends[0].0, Pos::ZERO);
}
