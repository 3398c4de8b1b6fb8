//! Manifests that logs store.

use silvertine_engine::engine::Engine;
use silvertine_scenarios::{
    manifest::{Manifest, ManifestError},
    registry::Registry,
};

use super::assert_one_line;

/// A manifest that decodes is stored again in the same bytes that it was last stored in.
pub fn manifest(bytes: &[u8]) {
    match Manifest::from_bytes(bytes) {
        Ok(manifest) => check_manifest(&manifest),
        Err(why) => assert_one_line(&why),
    }
}

pub(super) fn check_manifest(manifest: &Manifest) {
    let stored = manifest.to_bytes();
    let back = Manifest::from_bytes(&stored).expect("reads what it wrote");
    // A log is continued only with the very bytes it was created with.
    assert_eq!(back.to_bytes(), stored, "{}", String::from_utf8_lossy(&stored));
    let registry = Registry::standard();
    match (manifest.engine(&registry), back.engine(&registry)) {
        (Ok(ours), Ok(theirs)) => assert_eq!(saved(&ours), saved(&theirs)),
        (Err(ours), Err(theirs)) => {
            assert_one_line(&ours);
            assert_eq!(ours.to_string(), theirs.to_string());
        }
        (ours, theirs) => {
            let why = |built: Result<Engine, ManifestError>| built.err().map(|why| why.to_string());
            panic!("an engine comes of one only: {:?}, {:?}", why(ours), why(theirs));
        }
    }
}

pub(super) fn saved(engine: &Engine) -> Vec<u8> {
    engine.save().expect("what was built or loaded can be saved")
}
