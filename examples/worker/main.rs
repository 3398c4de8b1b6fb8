//! A worker: takes orders off a named stream, places each with a broker, and publishes the broker's answer.
//!
//! Two members share the stream. One order cannot be read, one the broker refuses, and for one the broker is not
//! reachable at the first attempt: a dead letter, a dead letter, a retry. The stream is in memory here; another
//! address as the first argument puts the same on sled, redb or Redis.

use std::{env, error::Error, fmt};

use serde::{Deserialize, Serialize};
use silvertine::{
    storage::{LogAddress, streams::AnyStreams},
    worker::{
        Class, Classify, Handled, Message, MessageContext, Publication, StreamName, Streams, Typed,
        Worker, handler_with, now, parse_topology,
    },
};

#[derive(Deserialize, Serialize)]
struct Order {
    symbol: String,
    qty: u32,
}

/// What the broker answers.
#[derive(Serialize)]
struct Placed {
    symbol: String,
    broker_id: String,
}

/// Why an order was not placed, and so whether it is tried again.
#[derive(Debug)]
enum BrokerError {
    Unreachable,
    Refused,
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "the broker does not answer",
            Self::Refused => "the broker refuses the order",
        })
    }
}

impl Error for BrokerError {}

impl Classify for BrokerError {
    fn class(&self) -> Class {
        match self {
            Self::Unreachable => Class::Transient,
            Self::Refused => Class::Permanent,
        }
    }
}

/// Stands in for a call over the network. `key` is the same at every attempt, so a broker can refuse to act twice.
async fn place(order: Order, key: &str, attempt: u32) -> Result<Placed, BrokerError> {
    match order.qty {
        0 => Err(BrokerError::Refused),
        13 if attempt == 1 => Err(BrokerError::Unreachable),
        _ => Ok(Placed { symbol: order.symbol, broker_id: format!("broker/{key}") }),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let orders: StreamName = "strategy:broker:orders".parse()?;
    let answers: StreamName = "broker:strategy:answers".parse()?;
    let topology = parse_topology(include_str!("streams.toml"), "streams.toml")?;
    let address: LogAddress = env::args().nth(1).as_deref().unwrap_or("memory").parse()?;
    let streams = AnyStreams::open(&address, topology, false)?;
    streams.declare(now()).await?;

    let order = |number: u32, qty| {
        let order = Order { symbol: "DEMO".to_owned(), qty };
        let message = Message::json(&order)?.with_key(&format!("order-{number}"));
        Ok::<_, Box<dyn Error>>(Publication::new(orders.clone(), message))
    };
    let nonsense = Publication::new(orders.clone(), Message::default().with("data", "nonsense"));
    // The last one is published twice under one key, as a producer does that got no answer.
    let published = [order(1, 5)?, order(2, 0)?, order(3, 13)?, order(4, 7)?, order(4, 7)?];
    streams.publish(&published, now()).await?;
    streams.publish(&[nonsense], now()).await?;

    let member = |name: &str| {
        let broker = handler_with(
            answers.clone(),
            async |answers, Typed(order): Typed<Order>, cx: MessageContext| {
                let placed = place(order, cx.key(), cx.attempt()).await?;
                let answer = Message::json(&placed).map_err(|_| BrokerError::Refused)?;
                Ok::<_, BrokerError>(Handled::done().emit(&answers, answer.with_key(cx.key())))
            },
        );
        let group = "brokers".parse()?;
        let worker = Worker::new(streams.clone(), orders.clone(), group, name.parse()?, broker)?;
        Ok::<_, Box<dyn Error>>(worker.until_idle())
    };
    let (a, b) = tokio::try_join!(member("broker-1")?.run(), member("broker-2")?.run())?;
    println!(
        "{} done, {} duplicates, {} retries, {} dead",
        a.done + b.done,
        a.duplicates + b.duplicates,
        a.retried + b.retried,
        a.dead + b.dead
    );
    Ok(())
}
