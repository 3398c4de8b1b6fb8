//! Dead letters, their way back, and small records.

use silvertine_engine::{pos::Pos, span::Span, time::Nanos};
use silvertine_streams::{
    Amendment, DeadChange, DeadState, Publication, Settled, Status, StoreErrorKind, StreamName,
    StreamSpec, Streams, Why,
};

use crate::fixture::{
    Fixture, dead, group, letter, message, numbered, run, spec, spec_with, stream, texts,
};

#[test]
fn a_dead_letter_is_the_message_untouched_with_its_story() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let original = message("x").with("blob", vec![0, 159, 146, 150, b'\r', b'\n']);
        fixture.publish(vec![original.clone()]).await;
        let one = fixture.fetch_new("a").await.remove(0);
        assert_eq!(
            fixture.settle("b", &[dead(&one.id, one.message.clone())]).await,
            [Settled::Lost]
        );
        let buried = dead(&one.id, one.message.clone());
        assert_eq!(fixture.settle("a", &[buried]).await, [Settled::Applied]);
        let letters = fixture.dead_letters().await;
        assert_eq!(letters[0].1, letter(&one.id, original));
        assert_eq!((fixture.stats().await.dead, fixture.counts().await.dead), (1, 1));
        assert!(fixture.server.send("XLEN {mgmt:trading:commands}:dead").starts_with(":1"));
    });
}

#[test]
fn a_letter_is_redriven_to_its_group_once() {
    run(async {
        let audit = StreamName::new("system:audit").expect("a name");
        let both = vec![spec(), StreamSpec::new(audit.clone())];
        let fixture = Fixture::on(crate::redis_server::RedisServer::start(), both).await;
        fixture.publish(numbered(0, 1)).await;
        let one = fixture.fetch_new("a").await.remove(0);
        fixture.settle("a", &[dead(&one.id, one.message.clone())]).await;
        let (id, letter) = fixture.dead_letters().await.remove(0);
        let redriven = DeadState { status: Status::Redriven, redrives: 1, note: "ops".to_owned() };
        let redrive = Publication::new(letter.redrive_stream(&stream()), letter.redrive());
        let audits = [Publication::new(audit.clone(), message("redriven"))];
        let amendment = Amendment {
            id,
            expected: letter.state.clone(),
            change: DeadChange::Send(redriven.clone(), redrive),
        };
        let amend = async |amendments: &[Amendment]| {
            fixture
                .streams
                .amend(&stream(), amendments, &audits, Nanos::ZERO)
                .await
                .expect("amends")
        };
        assert_eq!(amend(&[amendment.clone(), amendment.clone()]).await, [true, false]);
        assert_eq!(amend(&[amendment]).await, [false]);
        assert_eq!(fixture.streams.read(&audit, Pos::ZERO, 10).await.expect("reads").len(), 1);
        assert_eq!(fixture.dead_letters().await[0].1.state, redriven);
        // What is stored keeps its names: the server compares it byte by byte with what clients expect.
        let stored =
            fixture.server.send(&format!("HGET {{mgmt:trading:commands}}:dead:state {id}"));
        assert!(stored.contains(r#"{"status":"replayed","replays":1,"note":"ops"}"#), "{stored}");

        let back = fixture.fetch("a").await.deliveries;
        assert_eq!((back.len(), &back[0].id.stream), (1, &stream().redrives(&group())));
        assert_eq!(back[0].why, Why::New);
        let remove = Amendment { id, expected: redriven, change: DeadChange::Remove };
        assert_eq!(amend(&[remove.clone(), remove]).await, [true, false]);
        assert_eq!(fixture.stats().await.dead, 0);
        assert!(fixture.server.send("EXISTS {mgmt:trading:commands}:dead:state").starts_with(":0"));
    });
}

#[test]
fn imported_letters_keep_their_state_and_pages_follow_each_other() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.publish(numbered(0, 1)).await;
        let id = fixture.fetch_new("a").await[0].id.clone();
        let mut held = letter(&id, message("held"));
        held.state = DeadState { status: Status::Held, ..DeadState::default() };
        let letters = [letter(&id, message("new")), held];
        let ids = fixture.streams.bury(&stream(), &letters, Nanos::ZERO).await.expect("buries");
        let first = fixture.streams.dead_letters(&stream(), Pos::ZERO, 1).await.expect("reads");
        let second = fixture.streams.dead_letters(&stream(), first[0].0, 5).await.expect("reads");
        assert_eq!(
            [&first[0], &second[0]],
            [&(ids[0], letters[0].clone()), &(ids[1], letters[1].clone())]
        );
    });
}

#[test]
fn letters_past_their_retention_go_when_others_come() {
    run(async {
        let old = spec_with(|spec| spec.dead_retention = Some(Span::from_millis(50)));
        let fixture = Fixture::new(old).await;
        fixture.publish(numbered(0, 1)).await;
        let id = fixture.fetch_new("a").await[0].id.clone();
        let letters = [letter(&id, message("x"))];
        for _ in 0..2 {
            fixture.streams.bury(&stream(), &letters, Nanos::ZERO).await.expect("buries");
            tokio::time::sleep(std::time::Duration::from_millis(70)).await;
        }
        assert_eq!(fixture.dead_letters().await.len(), 1);
    });
}

#[test]
fn an_entry_that_is_no_dead_letter_is_named() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture.server.send("XADD {mgmt:trading:commands}:dead 7-7 some thing");
        let error =
            fixture.streams.dead_letters(&stream(), Pos::ZERO, 5).await.expect_err("corrupt");
        assert!(
            matches!(&error.kind, StoreErrorKind::Corrupt { at, .. } if at.ends_with(":dead 7-7"))
        );
    });
}

#[test]
fn a_record_is_replaced_only_where_it_is_as_expected() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        let swap = async |expected: Option<&[u8]>, new: Option<&[u8]>| {
            fixture.streams.swap_record(&stream(), "drain", expected, new).await.expect("swaps")
        };
        let read = async || fixture.streams.record(&stream(), "drain").await.expect("reads");
        assert!(!swap(Some(b""), Some(b"a")).await);
        assert!(swap(None, Some(b"")).await);
        assert_eq!(read().await, Some(Vec::new()));
        assert!(!swap(None, Some(b"b")).await);
        assert!(swap(Some(b""), Some(b"b\0")).await);
        assert!(swap(Some(b"b\0"), None).await);
        assert_eq!(read().await, None);
    });
}

#[test]
fn a_redriven_letter_is_not_seen_by_those_who_ask_for_new_messages_alone() {
    run(async {
        let fixture = Fixture::new(spec()).await;
        fixture
            .publish_to(&stream().redrives(&group()), vec![message("r")])
            .await
            .expect("publishes");
        assert_eq!(fixture.fetch_new("a").await, []);
        assert_eq!(texts(&fixture.fetch("a").await.deliveries), ["r"]);
    });
}
