//! Checkpoints of feeds.

use std::{io::Write, time::Duration};

use silvertine_engine::executor::block_on;
use silvertine_engine::{
    event::validate,
    feed::{Feed, Merge, MergedSource, OnBadRow, Polled},
    numbers::Price,
    text::{Name, Symbol},
    time::Nanos,
};
use silvertine_scenarios::sources::Quotes;
use silvertine_sim::log::workload::{Workload, WorkloadSource};
use silvertine_trading::generator::{Market, QuoteGenerator};

use super::{assert_one_line, files::open};

/// A feed continues from any checkpoint or says in one line why it cannot.
pub fn checkpoint(bytes: &[u8]) {
    check_checkpoint(bytes, read_and_generated());
    check_checkpoint(bytes, awkward());
}

fn read_and_generated() -> Merge {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let rows = "time_ns,symbol,bid,bid_qty,ask,ask_qty\n1,X,1,0,2,0\nbad\n3,X,2,0,3,0\n";
    file.write_all(rows.as_bytes()).expect("writes");
    let quotes = open(file.path(), Quotes).expect("a recording of quotes");
    let mut market = Market::new(1, vec![Symbol::new("X").expect("valid")], 5);
    market.start = Nanos(1);
    market.interval_ns = 2;
    market.start_price = Price::from_units(1000);
    market.tick = Price::from_units(1);
    let name = Name::new("generator").expect("valid");
    let generator = QuoteGenerator::new(name, market).expect("valid");
    let generator = generator.with_trades(500).expect("valid");
    Merge::new(vec![
        MergedSource::new(quotes, "quotes.csv", OnBadRow::Skip),
        MergedSource::new(Box::new(generator), "generator", OnBadRow::Stop),
    ])
}

fn awkward() -> Merge {
    let lane = |name: &str, ids| {
        let workload = Workload {
            seed: 1,
            symbols: vec![Symbol::new("X").expect("valid")],
            events: 4,
            start_ns: 1,
            interval_ns: 2,
            price: Price::from_units(1_000_000_000),
            trades: 300,
            bars: 300,
            bursts: 300,
            late: 300,
            duplicates: 300,
            bad: 300,
            releases: 0,
            handlers: Vec::new(),
            ids,
            publish: false,
        };
        let name = Name::new(name).expect("valid");
        let source = WorkloadSource::new(name, workload).expect("makes sense");
        MergedSource::new(Box::new(source), "workload", OnBadRow::Skip)
    };
    Merge::new(vec![lane("with-ids", true), lane("without", false)])
}

fn check_checkpoint(bytes: &[u8], mut merge: Merge) {
    if let Err(why) = merge.restore(bytes) {
        return assert_one_line(&why);
    }
    // There are eight inputs in all; a checkpoint of another run may end anywhere, but it ends.
    for _ in 0..16 {
        match block_on(merge.poll(Duration::ZERO)) {
            Ok(Polled::Ready(_)) => {
                validate(&merge.take().body).expect("a feed is the door");
            }
            Ok(Polled::Idle | Polled::End) => break,
            Err(why) => return assert_one_line(&why),
        }
        let _continues = merge.checkpoint();
    }
}
