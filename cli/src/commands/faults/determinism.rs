//! The same plan must give the same trace: twice in one process, and in two processes.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::Path,
    process::{self, Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use silvertine_engine::digest::Digest;
use silvertine_sim::log::{plan::Plan, report::Report};

use super::{Subject, cannot_run};
use crate::{
    args::SimArgs,
    exit::{Exit, Failure},
};

/// Runs a plan once more in this process.
pub(super) fn compare_with_second_run(
    subject: &Subject,
    number: u64,
    plan: &Plan,
    first: &Report,
) -> Result<(), Failure> {
    let second = subject.run(plan, false).map_err(cannot_run)?;
    if first.trace.hash() == second.trace.hash() {
        return Ok(());
    }
    let again = |_| subject.run(plan, true).map_err(cannot_run);
    let (first, second) = (again(1)?, again(2)?);
    let difference = first.trace.first_difference(&second.trace);
    let message = format!("seed {number} gives two different traces: {difference}");
    Err(Failure::new(Exit::NotDeterministic, message))
}

/// Runs the same plans in a second process, where addresses, hash seeds and lazy statics differ.
///
/// When a stop is requested meanwhile, the second process is killed and nothing is compared.
pub(super) fn compare_with_another_process(
    runs: u64,
    hashes: &BTreeMap<u64, Digest>,
    args: &SimArgs,
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let unexpected = |why: String| Failure::new(Exit::Unexpected, why);
    let path = env::temp_dir().join(format!("silvertine-sim-{}.hashes", process::id()));
    let myself = env::current_exe().map_err(|why| unexpected(why.to_string()))?;
    let mut other = Command::new(myself);
    other.arg("sim").args(&args.scenario).arg("--write-hashes").arg(&path);
    other.arg("--jobs").arg(args.jobs.to_string()).arg("--json");
    if args.workers {
        other.arg("--workers");
    } else if let Some(data) = &args.data {
        other.arg("--data").arg(data);
    }
    match (args.exhaustive, &args.plan) {
        (Some(mode), _) => other.arg("--exhaustive").arg(mode.to_string()),
        (None, Some(plan)) => other.arg("--plan").arg(plan),
        // As many as were run here, also where `--time` ended the run.
        (None, None) => other
            .args(["--from-seed", &args.from_seed.to_string()])
            .args(["--seeds", &runs.to_string()]),
    };
    other.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let ran = run_unless(interrupted, &mut other).map_err(|why| unexpected(why.to_string()))?;
    let read = fs::read_to_string(&path);
    // The file is no longer needed, whatever the result.
    let _ = fs::remove_file(&path);
    if interrupted.load(Ordering::Relaxed) {
        return Ok(());
    }
    let theirs = read.map_err(|why| {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        unexpected(format!("the second process wrote no hashes: {why} {said}"))
    })?;
    let ours = lines(hashes);
    let differs = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
    match differs {
        None if ours.lines().count() == theirs.lines().count() => Ok(()),
        None => Err(unexpected("the second process ran another number of plans".to_owned())),
        Some((ours, theirs)) => {
            let message = format!("two processes give two traces: here {ours}, there {theirs}");
            Err(Failure::new(Exit::NotDeterministic, message))
        }
    }
}

/// Runs a process to its end, or ends it when somebody asks to stop.
fn run_unless(interrupted: &AtomicBool, command: &mut Command) -> io::Result<Output> {
    let mut child = command.spawn()?;
    while child.try_wait()?.is_none() {
        if interrupted.load(Ordering::Relaxed) {
            child.kill()?;
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output()
}

/// Writes the trace hash of each plan.
pub(super) fn write_hashes(path: &Path, hashes: &BTreeMap<u64, Digest>) -> Result<(), Failure> {
    fs::write(path, lines(hashes))
        .map_err(|why| Failure::new(Exit::OutputFailed, format!("{}: {why}", path.display())))
}

fn lines(hashes: &BTreeMap<u64, Digest>) -> String {
    hashes.iter().map(|(number, hash)| format!("seed {number} {hash}\n")).collect()
}
