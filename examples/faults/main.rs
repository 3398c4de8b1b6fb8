//! Three handlers, each with a bug of the kind that survives every backtest and shows on the first bad day; and what
//! the simulator says of them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use silvertine::{prelude::*, runtime::faults::CheckError};

#[derive(Clone, Copy)]
enum Bug {
    None,
    CounterOutsideSnapshot,
    RandomSource,
    HashedOrder,
}

/// Signals on every fourth event of a symbol.
struct EveryFourth {
    bug: Bug,
    counts: HashMap<Symbol, u64>,
    total: u64,
}

impl EveryFourth {
    fn new(bug: Bug) -> Self {
        Self { bug, counts: HashMap::new(), total: 0 }
    }

    /// The counts in order, unless the bug is that there is none.
    fn sorted(&self) -> Vec<(Symbol, u64)> {
        let mut counts: Vec<_> =
            self.counts.iter().map(|(&symbol, &count)| (symbol, count)).collect();
        if !matches!(self.bug, Bug::HashedOrder) {
            counts.sort_unstable();
        }
        counts
    }
}

impl Handler for EveryFourth {
    fn topics(&self) -> TopicSet {
        TopicSet::of(&[Topic::MarketData])
    }

    fn handle(&mut self, event: &Event, ctx: &mut Context<'_>) -> Result<(), HandlerError> {
        let Body::MarketData(data) = &event.body else { return Ok(()) };
        *self.counts.entry(data.symbol()).or_default() += 1;
        self.total += 1;
        let lucky = match self.bug {
            Bug::RandomSource => RandomState::new().build_hasher().finish().is_multiple_of(4),
            _ => self.total.is_multiple_of(4),
        };
        for (symbol, _) in self.sorted().into_iter().filter(|_| lucky) {
            ctx.emit(Signal { symbol, strategy: ctx.handler(), strength: Ratio::ONE });
        }
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, HandlerError> {
        let forgets = matches!(self.bug, Bug::CounterOutsideSnapshot);
        encode_state(&(self.sorted(), if forgets { 0 } else { self.total }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HandlerError> {
        let (counts, total): (Vec<(Symbol, u64)>, u64) = decode_state(state)?;
        self.counts = counts.into_iter().collect();
        self.total = total;
        Ok(())
    }
}

fn main() -> Result<(), CheckError> {
    for (name, bug) in [
        ("no bug", Bug::None),
        ("a counter outside the snapshot", Bug::CounterOutsideSnapshot),
        ("a random source of its own", Bug::RandomSource),
        ("iterates a HashMap", Bug::HashedOrder),
    ] {
        println!("== {name}");
        let check = check_handler("every-fourth", Priority::Normal, move || EveryFourth::new(bug))?;
        match check.seeds(500).run() {
            Ok(checked) => println!("good: {} runs, {} faults\n", checked.runs, checked.faults),
            Err(CheckError::Broken { failure, .. }) => println!("{failure}"),
            Err(why) => return Err(why),
        }
    }
    Ok(())
}
