//! Random histories: drawn by a seed that the report tells, shrunk to the shortest that still fails.

use std::{cell::RefCell, fmt::Debug, hash::BuildHasher};

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestCaseError, TestError, TestRunner},
};

use crate::{
    breach::{Breach, caught},
    journal::Journal,
    report::BrokenLaw,
};

/// The name under which a history that differs from the model is reported.
pub(crate) const NAME: &str = "random_histories_match_the_model";

/// Plays so many histories, each with a journal of its own.
pub(crate) fn check<H: Debug>(
    cases: u32,
    histories: impl Strategy<Value = H>,
    play: impl Fn(&H, &Journal),
) -> Result<(), BrokenLaw> {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => std::hash::RandomState::new().hash_one(cases),
    };
    let mut runner = TestRunner::new(ProptestConfig { rng_seed: RngSeed::Fixed(seed), ..config });
    // Shrinking ends with the shortest history that fails, and no longer one fails after it.
    let failed: RefCell<Option<(Breach, Journal)>> = RefCell::default();
    let result = runner.run(&histories, |history| {
        let journal = Journal::default();
        caught(|| play(&history, &journal)).map_err(|breach| {
            let reason = breach.what.clone();
            failed.replace(Some((breach, journal)));
            TestCaseError::fail(reason)
        })
    });
    let Err(error) = result else { return Ok(()) };
    let told = match error {
        TestError::Fail(_, shortest) => format!(
            "the shortest history that shows it: {shortest:?}\nrun it again with PROPTEST_RNG_SEED={seed}"
        ),
        TestError::Abort(why) => format!("given up: {why}"),
    };
    let (breach, journal) = failed.into_inner().unwrap_or_else(|| {
        (Breach { what: "no history could be drawn".to_owned(), at: None }, Journal::default())
    });
    Err(BrokenLaw::new(NAME, breach, &journal).in_history(told))
}
