//! `silvertine work`.

use std::{os::unix::fs::PermissionsExt, path::Path};

use silvertine_engine::stop::StopFlag;
use silvertine_storage::streams::AnyStreams;
use silvertine_streams::{ConsumerName, MemberStats, StoreError, Streams};
use silvertine_worker::{Exec, Router, Worker, WorkerError, notice, now};

use super::{args::WorkArgs, open, say};
use crate::{
    commands::run::runtime,
    exit::{Exit, Failure},
    signals::stop_on_signals,
};

/// Works on a stream until it is told to stop.
pub(crate) fn work(args: WorkArgs) -> Result<Exit, Failure> {
    check(&args)?;
    let streams = open(&args.store, false)?;
    let stop = stop_on_signals()?;
    let stats = runtime()?.block_on(async {
        declare_patiently(&streams, &stop).await?;
        work_together(&args, &streams, &stop).await
    })?;
    let MemberStats { done, duplicates, retried, dead, lost, .. } = stats;
    say(&format!(
        "{done} done, {duplicates} duplicates, {retried} retries, {dead} dead, {lost} taken by others"
    ))?;
    Ok(if stop.is_requested() { Exit::Stopped } else { Exit::Good })
}

/// Refuses what could only fail on every message.
fn check(args: &WorkArgs) -> Result<(), Failure> {
    let usage = |why: String| Err(Failure::new(Exit::Usage, why));
    if let Some(emit) = &args.emit {
        if super::topology(&args.store)?.owner_of(emit).is_none() {
            return usage(format!("there is no stream {emit} in the topology"));
        }
        if *emit == args.stream {
            return usage(format!("--emit leads back to {emit}"));
        }
    }
    match args.command.first() {
        Some(program) if !is_executable(program) => {
            usage(format!("{program} is no program that can be run"))
        }
        _ => Ok(()),
    }
}

/// Whether there is such a program, in a folder of `PATH` where its name says no folder.
fn is_executable(program: &str) -> bool {
    let executable = |path: &Path| {
        let found = path.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return executable(Path::new(program));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| executable(&folder.join(program)))
}

/// Declares the streams; a server that is not there yet is waited for.
async fn declare_patiently(streams: &AnyStreams, stop: &StopFlag) -> Result<(), StoreError> {
    let mut told = false;
    loop {
        match streams.declare(now()).await {
            Err(error) if error.is_retryable() && !stop.is_requested() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(target: notice::TARGET, "waiting for the store: {error}");
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            declared => return declared,
        }
    }
}

async fn work_together(
    args: &WorkArgs,
    streams: &AnyStreams,
    stop: &StopFlag,
) -> Result<MemberStats, Failure> {
    let mut members = Vec::new();
    for number in 1..=args.members {
        let name = match args.members {
            1 => args.name.clone(),
            _ => ConsumerName::new(&format!("{}-{number}", args.name))
                .map_err(|why| Failure::new(Exit::Usage, why.to_string()))?,
        };
        let (streams, stream, group) = (streams.clone(), args.stream.clone(), args.group.clone());
        if args.route {
            let routes = &streams.topology().routes;
            let route =
                routes.iter().find(|route| route.from == stream && route.group == group).cloned();
            let no_route = || {
                let why = format!("the topology has no route from {stream} as {group}");
                Failure::new(Exit::Usage, why)
            };
            let router = Router::new(route.ok_or_else(no_route)?);
            let worker = Worker::new(streams, stream, group, name, router)?;
            members.push(start(worker, args, stop));
        } else {
            let exec = Exec { command: args.command.clone(), emit: args.emit.clone() };
            let worker = Worker::new(streams, stream, group, name, exec)?;
            members.push(start(worker, args, stop));
        }
    }
    let mut all = MemberStats::default();
    for member in members {
        let stats =
            member.await.map_err(|why| Failure::new(Exit::Unexpected, why.to_string()))??;
        all.done += stats.done;
        all.duplicates += stats.duplicates;
        all.retried += stats.retried;
        all.dead += stats.dead;
        all.lost += stats.lost;
    }
    Ok(all)
}

fn start<H: silvertine_worker::Handle>(
    worker: Worker<AnyStreams, silvertine_worker::Single<H>>,
    args: &WorkArgs,
    stop: &StopFlag,
) -> tokio::task::JoinHandle<Result<MemberStats, WorkerError>> {
    let worker = worker.stop_on(stop, args.drain.duration());
    let worker = if args.until_idle { worker.until_idle() } else { worker };
    tokio::spawn(worker.run())
}
