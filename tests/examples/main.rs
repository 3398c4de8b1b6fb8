//! Runs every example program as its README says, and looks at what it prints. The Python ones run in
//! `tests/processes/python.rs`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What an example prints. Cargo builds examples with the tests, unless it is asked for this test alone.
fn printed(example: &str, args: &[&str]) -> String {
    let this = env::current_exe().expect("a test has a path");
    let built = this.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join("examples");
    let program = built.join(format!("{example}{}", env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "build the examples first: cargo build --examples");
    let output = Command::new(program).args(args).current_dir(root()).output().expect("starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_strategy_prints_its_fills_and_the_digest_that_its_readme_shows() {
    let said = printed("buy_the_dip", &[]);
    let readme = fs::read_to_string(root().join("examples/strategy/README.md")).expect("reads");
    assert!(readme.contains(said.trim()), "{said}");
}

#[test]
fn the_simulator_finds_the_three_bugs_and_nothing_in_the_good_handler() {
    let said = printed("faults", &[]);
    let (good, bad) = said.split_once("== a counter outside").expect("four handlers");
    assert!(good.contains("good: 500 runs"), "{said}");
    assert_eq!(bad.matches(" broke ").count(), 3, "{said}");
}

#[test]
#[cfg(feature = "sled")]
fn the_worker_does_the_same_in_memory_and_on_disk() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let on_disk = format!("sled:{}", folder.path().display());
    for address in ["memory", &on_disk] {
        let said = printed("worker", &[address]);
        assert_eq!(said, "3 done, 1 duplicates, 1 retries, 2 dead\n");
    }
    // Published once more under the same keys.
    assert_eq!(printed("worker", &[&on_disk]), "0 done, 4 duplicates, 0 retries, 2 dead\n");
}

#[test]
fn every_example_has_a_readme_and_stands_in_the_index() {
    let index = fs::read_to_string(root().join("examples/README.md")).expect("reads");
    let entries = fs::read_dir(root().join("examples")).expect("reads");
    let folders: Vec<PathBuf> =
        entries.map(|entry| entry.expect("reads").path()).filter(|path| path.is_dir()).collect();
    assert!(folders.len() >= 5, "{folders:?}");
    for folder in folders {
        let name = folder.file_name().and_then(|name| name.to_str()).expect("text");
        assert!(folder.join("README.md").is_file(), "examples/{name} has no README.md");
        assert!(index.contains(&format!("({name}/README.md)")), "examples/README.md lacks {name}");
    }
}
