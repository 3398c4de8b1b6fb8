//! Every seed of the fuzzers and every input that once broke a promise, through the same functions as on nightly.
//!
//! `fuzz/corpus/<target>/` holds seeds (written by [`seeds`]), `fuzz/crashes/<target>/` what fuzzing found.

#[path = "../../fuzz/src/lib.rs"]
mod bodies;
mod seeds;

use std::{
    collections::BTreeSet,
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

/// All seeds together stay a small part of the repository.
const CORPUS_LIMIT_BYTES: u64 = 200_000;

fn folder(parts: &[&str]) -> PathBuf {
    parts.iter().fold(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz"), |at, part| at.join(part))
}

/// The files of a folder in the order of their names; none where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("reads").path()).collect();
    files.sort();
    files
}

#[test]
fn every_seed_and_every_former_crash_keeps_the_promise_of_its_target() {
    let mut broken = Vec::new();
    for (target, body) in bodies::TARGETS {
        let seeds = files(&folder(&["corpus", target]));
        assert!(!seeds.is_empty(), "no seeds for {target}");
        for file in seeds.into_iter().chain(files(&folder(&["crashes", target]))) {
            let bytes = fs::read(&file).expect("reads");
            if panic::catch_unwind(AssertUnwindSafe(|| body(&bytes))).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "the reasons stand above; the files are {broken:#?}");
}

#[test]
fn every_target_of_the_fuzzers_has_a_body_and_the_other_way_round() {
    let targets = files(&folder(&["fuzz_targets"])).into_iter();
    let targets: BTreeSet<String> = targets
        .map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    let bodies: BTreeSet<String> = bodies::TARGETS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(targets, bodies);
    for (kind, target) in ["corpus", "crashes"]
        .iter()
        .flat_map(|kind| files(&folder(&[kind])).into_iter().map(move |path| (kind, path)))
    {
        let name = target.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(bodies.contains(&name), "{kind}/{name} belongs to no target");
    }
}

#[test]
fn the_corpus_holds_every_written_seed_and_stays_small() {
    let write = env::var_os("SILVERTINE_WRITE_SEEDS").is_some();
    for (target, name, bytes) in seeds::all() {
        let file = folder(&["corpus", target, &name]);
        if write {
            fs::create_dir_all(file.parent().expect("a folder")).expect("creates");
            fs::write(&file, &bytes).expect("writes");
        }
        let stored = fs::read(&file).ok();
        assert!(
            stored == Some(bytes),
            "{} is not what seeds.rs says; SILVERTINE_WRITE_SEEDS=1 writes it",
            file.display()
        );
    }
    let sizes = bodies::TARGETS.map(|(target, _)| -> u64 {
        let seeds = files(&folder(&["corpus", target])).into_iter();
        seeds.map(|file| file.metadata().expect("reads").len()).sum()
    });
    assert!(sizes.iter().sum::<u64>() < CORPUS_LIMIT_BYTES, "{sizes:?}");
}
