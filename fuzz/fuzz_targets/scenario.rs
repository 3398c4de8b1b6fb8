//! Any text as a scenario: an error or a scenario, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use silvertine_scenarios::{handlers::Registry, manifest::Manifest, scenario::Scenario};

fuzz_target!(|text: &str| {
    if let Ok(scenario) = Scenario::parse(text, "fuzz", std::path::PathBuf::new()) {
        let manifest = Manifest::of(&scenario);
        let _any_result = manifest.engine(&Registry::standard());
        assert!(Manifest::from_bytes(&manifest.to_bytes()).is_ok());
    }
});
