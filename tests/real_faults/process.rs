//! The program itself through a failover that loses the tail: exit code 25, and `--resume` goes on.

use std::{
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    cli::{finish, silvertine, spawn},
    harness::branch_of,
    proxy::Proxy,
    redis_server::RedisServer,
};

/// The head of the partition on this server; empty while there is none.
fn head(server: &RedisServer) -> String {
    let reply = server.send("HGET sv:{ema-cross}:meta head");
    reply.lines().nth(1).unwrap_or_default().to_owned()
}

fn wait_until(run: &mut Child, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(run.try_wait().expect("can be asked").is_none(), "the run is over");
        assert!(Instant::now() < deadline, "nothing moves");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_run_whose_server_fails_over_and_loses_the_tail_ends_with_25_and_resumes_to_the_same_digest() {
    let scenario = "scenarios/ema-cross.toml";
    let primary = RedisServer::start_durable();
    let proxy = Proxy::start(primary.port());
    let url = proxy.url();
    // 5 000 s of recorded time, which this test does not wait for.
    let mut run = spawn(&["run", scenario, "--log", &url, "--speed", "50x", "--batch", "8"]);
    wait_until(&mut run, || !matches!(head(&primary).as_str(), "" | "0-0"));
    let replica = branch_of(&primary);
    let kept = head(&replica);
    wait_until(&mut run, || head(&primary) != kept);
    drop(primary);
    proxy.fail_over_to(replica.port());
    let lost = finish(run);
    assert_eq!(lost.code, Some(25), "{lost:?}");
    assert!(lost.stderr.contains(&format!("entries after {kept} up to ")), "{lost:?}");
    assert_eq!(head(&replica), kept, "nothing was overwritten");

    let resumed = silvertine(&["run", scenario, "--json", "--log", &url, "--resume"]).json();
    let undisturbed = silvertine(&["run", scenario, "--json"]).json();
    assert_eq!(resumed["digest"], undisturbed["digest"]);
    let verified = silvertine(&["verify", &format!("{url}#ema-cross"), "--json"]).json();
    assert_eq!(verified["digest"], undisturbed["digest"]);
}
