//! Messages' way from producers through workers.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use silvertine::{
    engine::{pos::Pos, stop::StopFlag},
    streams::{Message, Publication, Route, Rule, Streams},
    worker::{Handled, MessageContext, Router, Worker, batch_handler, handler, handler_with, now},
};

use crate::fixture::{
    Broken, Calls, Counter, counts, eventually, group, on_every_store, publish, stream, text,
    topology, work, worker,
};

#[test]
fn several_workers_share_the_load_and_every_result_is_published_once() {
    on_every_store(&topology(), async |streams| {
        publish(&streams, (0..500).map(|n| n.to_string())).await;
        let results = stream("trading:mgmt:results");
        let mut members = Vec::new();
        for name in ["a", "b", "c"] {
            let results = results.clone();
            let broker =
                handler_with(results, async |results, message: Message, cx: MessageContext| {
                    let result = Message::default().with("data", text(&message)).with_key(cx.key());
                    Ok::<_, Broken>(Handled::done().emit(&results, result))
                });
            members.push(tokio::spawn(worker(&streams, name, broker).until_idle().run()));
        }
        let mut done = 0;
        for member in members {
            done += member.await.expect("ends").expect("works").done;
        }
        assert_eq!(done, 500);
        let published = streams.read(&results, Pos::ZERO, 1000).await.expect("reads");
        let distinct: BTreeSet<String> = published.iter().map(|(_, one)| text(one)).collect();
        assert_eq!((published.len(), distinct.len()), (500, 500));
    });
}

#[test]
fn a_message_that_is_published_twice_with_one_key_has_one_effect() {
    on_every_store(&topology(), async |streams| {
        let commands = stream("mgmt:trading:commands");
        let command = |n: u64| {
            let message = Message::default().with("data", n.to_string());
            Publication::new(commands.clone(), message.with_key(&format!("command-{}", n % 10)))
        };
        let publications: Vec<_> = (0..30).map(command).collect();
        streams.publish(&publications, now()).await.expect("publishes");
        let results = stream("trading:mgmt:results");
        let calls = Calls::default();
        let state = (calls.clone(), results.clone());
        let broker =
            handler_with(state, async |(calls, results), _: Message, cx: MessageContext| {
                calls.count(cx.key());
                let result = Message::default().with("data", cx.key());
                Ok::<_, Broken>(Handled::done().emit(&results, result))
            });
        let stats = work(&streams, broker).await;
        assert_eq!((stats.done, stats.duplicates), (10, 20));
        let published = streams.read(&results, Pos::ZERO, 1000).await.expect("reads");
        assert_eq!(published.len(), 10);
    });
}

#[test]
fn a_batch_handler_gets_many_at_once_and_one_that_panics_takes_no_other_with_it() {
    on_every_store(&topology(), async |streams| {
        publish(&streams, (0..40).map(|n| n.to_string())).await;
        let largest = Counter::default();
        let seen = largest.clone();
        let rows = batch_handler(8, move |batch: Vec<(Message, MessageContext)>| {
            seen.at_least(batch.len() as u64);
            async move {
                assert!(!batch.iter().any(|(message, _)| text(message) == "13"), "bad row");
                batch.iter().map(|_| Ok::<_, Broken>(Handled::done())).collect()
            }
        });
        let name = "rows".parse().expect("a name");
        let commands = stream("mgmt:trading:commands");
        let worker = Worker::batched(streams.clone(), commands, group(), name, rows);
        let stats = worker.expect("known").until_idle().run().await.expect("works");
        assert_eq!((stats.done, stats.dead), (39, 1));
        assert_eq!(largest.get(), 8);
    });
}

#[test]
fn messages_of_one_key_are_handled_in_order_though_many_workers_share_them() {
    let mut ordered = topology();
    ordered.streams[0].groups[0].order_by = Some("symbol".to_owned());
    on_every_store(&ordered, async |streams| {
        let commands = stream("mgmt:trading:commands");
        let order = |n: u64| {
            let symbol = ["BTC", "ETH", "SOL"][(n % 3) as usize];
            let message = Message::default().with("data", n.to_string()).with("symbol", symbol);
            Publication::new(commands.clone(), message)
        };
        let publications: Vec<_> = (0..90).map(order).collect();
        streams.publish(&publications, now()).await.expect("publishes");
        let handled = Arc::new(Mutex::new(Vec::new()));
        let calls = Calls::default();
        let mut members = Vec::new();
        for name in ["a", "b"] {
            let state = (handled.clone(), calls.clone());
            let broker = handler_with(
                state,
                async |(handled, calls), message: Message, _: MessageContext| {
                    let number: u64 = text(&message).parse().expect("a number");
                    tokio::time::sleep(Duration::from_millis(number % 4)).await;
                    // Every seventh fails at first: those behind it must wait for it.
                    if number.is_multiple_of(7) && calls.count(&number.to_string()) == 1 {
                        return Err(Broken(silvertine::streams::Class::Transient));
                    }
                    handled.lock().expect("not poisoned").push(number);
                    Ok(Handled::done())
                },
            );
            members.push(tokio::spawn(worker(&streams, name, broker).until_idle().run()));
        }
        for member in members {
            member.await.expect("ends").expect("works");
        }
        eventually("all are done", async || counts(&streams).await.done == 90).await;
        let handled = handled.lock().expect("not poisoned").clone();
        for symbol in 0..3 {
            let of_symbol: Vec<u64> = handled.iter().copied().filter(|n| n % 3 == symbol).collect();
            let mut sorted = of_symbol.clone();
            sorted.sort_unstable();
            assert_eq!(of_symbol, sorted);
            assert_eq!(of_symbol.len(), 30);
        }
    });
}

#[test]
fn urgent_lanes_come_first_and_the_others_do_not_starve() {
    let mut with_lane = topology();
    with_lane.streams[0].lanes = vec!["urgent".to_owned()];
    with_lane.streams[0].groups[0].in_flight = 4;
    on_every_store(&with_lane, async |streams| {
        let commands = stream("mgmt:trading:commands");
        publish(&streams, (0..100).map(|n| format!("normal {n}"))).await;
        let urgent = |n| {
            let message = Message::default().with("data", format!("urgent {n}"));
            Publication::new(commands.lane("urgent"), message)
        };
        let publications: Vec<_> = (0..100).map(urgent).collect();
        streams.publish(&publications, now()).await.expect("publishes");
        let order = Arc::new(Mutex::new(Vec::new()));
        let broker =
            handler_with(order.clone(), async |order, message: Message, _: MessageContext| {
                order.lock().expect("not poisoned").push(text(&message));
                Ok::<_, Broken>(Handled::done())
            });
        assert_eq!(work(&streams, broker).await.done, 200);
        let order = order.lock().expect("not poisoned").clone();
        let early = order.iter().take(100).filter(|text| text.starts_with("urgent")).count();
        assert!((60..100).contains(&early), "{early} of the first 100 were urgent");
    });
}

#[test]
fn a_drain_lets_handlers_end_and_gives_back_the_rest_at_once() {
    on_every_store(&topology(), async |streams| {
        publish(&streams, (0..16).map(|n| n.to_string())).await;
        let stop = StopFlag::default();
        let started = Counter::default();
        let slow =
            handler_with(started.clone(), async |started, message: Message, _: MessageContext| {
                started.add(1);
                // Half end within the drain, half never would.
                let number: u64 = text(&message).parse().expect("a number");
                tokio::time::sleep(Duration::from_millis(if number.is_multiple_of(2) {
                    50
                } else {
                    450
                }))
                .await;
                Ok::<_, Broken>(Handled::done())
            });
        let first = worker(&streams, "first", slow).stop_on(&stop, Duration::from_millis(150));
        let first = tokio::spawn(first.run());
        eventually("all are being handled", async || started.get() == 16).await;
        stop.request();
        let stats = first.await.expect("ends").expect("works");
        assert_eq!(stats.done, 8);
        let counts = counts(&streams).await;
        assert_eq!((counts.held, counts.retrying), (0, 8), "released, not held");
        let quick = handler(async |_: Message, _: MessageContext| Ok::<_, Broken>(Handled::done()));
        assert_eq!(work(&streams, quick).await.done, 8);
    });
}

#[test]
fn a_router_passes_messages_on_by_what_they_say() {
    let mut routed = topology();
    let results = stream("trading:mgmt:results");
    let when = serde_json::from_value(serde_json::json!([{ "field": "type", "is": "fill" }]));
    let fills = Rule { when: when.expect("a condition"), to: vec![results.clone()] };
    let from = stream("mgmt:trading:commands");
    let route = Route::new(from.clone(), group()).with_rule(fills);
    routed.routes = vec![route.clone()];
    routed.check().expect("makes sense");
    on_every_store(&routed, async |streams| {
        let message = |kind: &str| {
            Publication::new(from.clone(), Message::default().with("data", "x").with_type(kind))
        };
        let publications = [message("fill"), message("order"), message("fill")];
        streams.publish(&publications, now()).await.expect("publishes");
        assert_eq!(work(&streams, Router::new(route.clone())).await.done, 3);
        let passed_on = streams.read(&results, Pos::ZERO, 10).await.expect("reads");
        assert_eq!(passed_on.len(), 2);
        let keys: BTreeSet<_> = passed_on.iter().map(|(_, one)| one.text("key")).collect();
        assert_eq!(keys.len(), 2, "each has a key of its own");
    });
}

#[test]
fn a_worker_for_a_stream_nobody_knows_is_refused_in_words() {
    let streams = silvertine::storage::streams::MemoryStreams::in_memory(topology());
    let quick = || handler(async |_: Message, _: MessageContext| Ok::<_, Broken>(Handled::done()));
    let name = || "w".parse().expect("a name");
    let unknown = Worker::new(streams.clone(), stream("no:such"), group(), name(), quick());
    let error = unknown.err().expect("refused").to_string();
    assert_eq!(error, "there is no stream no:such in the topology");
    let other = "others".parse().expect("a name");
    let unknown = Worker::new(streams, stream("audit:events"), other, name(), quick());
    let error = unknown.err().expect("refused").to_string();
    assert_eq!(error, "the stream audit:events has no group others in the topology");
}
