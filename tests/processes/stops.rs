//! A signal stops what is simulated, too: at a clean place, with a summary and the documented code.

#![cfg(target_os = "linux")]

use std::{
    fs,
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use crate::{
    cli::{Finished, finish, spawn},
    folder,
    redis_server::RedisServer,
    text,
};

/// Sends a signal as soon as the process would catch it, and waits for its end.
fn stop(child: Child, signal: &str) -> Finished {
    stop_by(child, &[signal])
}

/// Waits until a process catches signals.
fn wait_until_caught(child: &Child) {
    let status = format!("/proc/{}/status", child.id());
    let catches = || {
        let status = fs::read_to_string(&status).expect("it is running");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("in hexadecimal");
        // SIGINT is 2 and SIGTERM is 15, which is registered last.
        caught & (1 << 14) != 0
    };
    while !catches() {
        sleep(Duration::from_millis(1));
    }
}

/// Sends signals one right after the other as soon as the process would catch them, and waits for its end.
fn stop_by(child: Child, signals: &[&str]) -> Finished {
    wait_until_caught(&child);
    for signal in signals {
        let sent = Command::new("kill").args([*signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }
    finish(child)
}

#[test]
fn signals_that_come_together_are_one_request_to_stop() {
    for _ in 0..5 {
        let scenario = ["run", "scenarios/ten-million.toml"];
        let stopped = stop_by(spawn(&scenario), &["-INT", "-TERM", "-INT"]);
        assert_eq!(stopped.code, Some(30), "{stopped:?}");
        assert!(stopped.stderr.contains("everything is committed"), "{stopped:?}");
        assert!(stopped.stderr.contains("in memory and is gone"), "{stopped:?}");
    }
}

#[test]
fn a_second_request_ends_a_run_that_waits_for_its_log_at_once() {
    let server = RedisServer::start();
    let log = server.url();
    let child = spawn(&["run", "scenarios/ten-million.toml", "--log", &log]);
    let (pid, pause) = (child.id().to_string(), Duration::from_millis(1000));
    let interrupt = || {
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.expect("kill is there").success(), "it still runs");
    };
    wait_until_caught(&child);
    server.freeze();
    interrupt();
    // Longer than signals are taken for one request.
    sleep(pause);
    interrupt();
    let ended = finish(child);
    server.thaw();
    assert_eq!(ended.code, Some(130), "{ended:?}");
}

#[test]
fn a_signal_stops_sim_and_sums_up_the_seeds_so_far() {
    let seeds = ["--seeds", "1000000000", "--jobs", "2", "--check-determinism"];
    for (signal, plane) in [("-INT", &[][..]), ("-TERM", &[]), ("-TERM", &["--workers"])] {
        let stopped = stop(spawn(&[&["sim"], &seeds[..], plane].concat()), signal);
        assert_eq!(stopped.code, Some(30), "{stopped:?}");
        assert!(stopped.stdout.starts_with("stopped: "), "{stopped:?}");
        assert!(stopped.stdout.contains("no promise broken"), "{stopped:?}");
        assert!(stopped.stderr.starts_with("silvertine: stopped after "), "{stopped:?}");
    }
}

#[test]
fn a_signal_stops_a_run_under_faults_and_says_what_was_not_looked_at() {
    let folder = folder();
    let path = folder.path().join("long.toml");
    let scenario = "name = \"long\"\n[[source]]\nkind = \"generator\"\nname = \"g\"\n\
                    symbols = [\"X\"]\nevents = 100000000\n[[handler]]\nkind = \"probe\"\n\
                    [[fault]]\nkind = \"crash\"\nafter_events = 10\n";
    fs::write(&path, scenario).expect("can be written");
    for (more, says) in [(None, "stopped: no promise broken so far"), (Some("--json"), "stopped")] {
        let args: Vec<&str> = ["run", text(&path)].into_iter().chain(more).collect();
        let stopped = stop(spawn(&args), "-INT");
        assert_eq!(stopped.code, Some(30), "{stopped:?}");
        assert!(stopped.stdout.contains(says), "{stopped:?}");
        assert!(stopped.stderr.contains("was not checked"), "{stopped:?}");
    }
}
