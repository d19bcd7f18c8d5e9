//! The rules of the house: which crate may know which, and where each foreign crate lives.

use std::collections::BTreeMap;
use tests::project_root;
use toml::Table;

const CRATES: [&str; 8] = ["api", "cli", "migrations", "models", "pipeline", "storage", "tests", "worker"];

/// What a crate may depend on, of ours.
const ARROWS: [(&str, &[&str]); 8] = [
    ("api", &["migrations", "pipeline", "storage"]),
    ("cli", &["api", "migrations", "models", "pipeline", "storage", "worker"]),
    ("migrations", &[]),
    ("models", &[]),
    ("pipeline", &["models"]),
    ("storage", &["migrations", "pipeline"]),
    ("tests", &["api", "cli", "migrations", "models", "pipeline", "storage", "worker"]),
    ("worker", &["models", "pipeline", "storage"]),
];

/// Foreign crates with a home: nobody else may name them.
const HOMES: [(&str, &[&str]); 24] = [
    ("apalis", &["storage"]),
    ("apalis-redis", &["storage"]),
    ("argon2", &["api"]),
    ("aws-config", &["storage"]),
    ("aws-sdk-s3", &["storage", "tests"]),
    ("candle-core", &["models"]),
    ("candle-nn", &["models"]),
    ("ffmpeg-next", &["pipeline"]),
    ("governor", &["api"]),
    ("jsonwebtoken", &["api"]),
    ("landlock", &["pipeline"]),
    ("lettre", &["cli"]),
    ("opentelemetry", &["cli"]),
    ("opentelemetry-otlp", &["cli"]),
    ("opentelemetry-proto", &["tests"]),
    ("opentelemetry_sdk", &["cli"]),
    ("poem", &["api"]),
    ("poem-openapi", &["api"]),
    ("redis", &["storage"]),
    ("rten", &["models"]),
    ("sea-orm", &["storage", "migrations"]),
    ("sea-orm-migration", &["migrations"]),
    ("tracing-opentelemetry", &["cli"]),
    ("whisper-rs", &["models"]),
];

/// Tests make their own tables; in the program the cli does it.
const ONLY_IN_TESTS: [(&str, &str); 2] = [("api", "migrations"), ("storage", "migrations")];

#[test]
fn crates_depend_on_each_other_as_drawn() {
    for (name, allowed) in ARROWS {
        for ours in
            dependencies(name, Section::Any).filter(|dependency| CRATES.contains(&dependency.as_str()))
        {
            assert!(allowed.contains(&ours.as_str()), "{name} → {ours} is a new arrow");
        }
    }
    for (name, only_in_tests) in ONLY_IN_TESTS {
        let used = dependencies(name, Section::Shipped).any(|dependency| dependency == only_in_tests);
        assert!(!used, "{name} → {only_in_tests} is for tests alone");
    }
}

#[test]
fn every_foreign_crate_is_at_home() {
    for (foreign, homes) in HOMES {
        for name in CRATES {
            let used = dependencies(name, Section::Any).any(|dependency| dependency == foreign);
            assert!(!used || homes.contains(&name), "{foreign} lives in {homes:?}, not in {name}");
        }
    }
}

#[test]
fn versions_and_lints_stand_in_one_place() {
    for name in CRATES {
        let manifest = manifest(name);
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name} has lints of its own");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, value) in
                manifest.get(section).and_then(|table| table.as_table()).into_iter().flatten()
            {
                assert_eq!(
                    value["workspace"].as_bool(),
                    Some(true),
                    "{name}: {dependency} has a version of its own"
                );
            }
        }
    }
}

/// What another crate's source names in `crates` must be declared: catches a home that is entered by a re-export.
#[test]
fn the_media_library_is_named_in_one_folder() {
    let mut offenders = BTreeMap::new();
    for name in CRATES {
        for path in sources(&project_root().join(name)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let here = path.to_string_lossy().into_owned();
            let named = text.lines().any(|line| line.trim_start().starts_with("use ffmpeg_next"));
            if named && !here.contains("pipeline/src/media") {
                offenders.insert(here, ());
            }
        }
    }
    assert!(offenders.is_empty(), "{offenders:?}");
}

#[derive(Clone, Copy, PartialEq)]
enum Section {
    Any,
    Shipped,
}

fn dependencies(name: &str, section: Section) -> impl Iterator<Item = String> + use<> {
    let manifest = manifest(name);
    let sections: &[&str] = match section {
        Section::Any => &["dependencies", "dev-dependencies", "build-dependencies"],
        Section::Shipped => &["dependencies", "build-dependencies"],
    };
    let names: Vec<String> = sections
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table().cloned())
        .flat_map(|table| table.keys().cloned().collect::<Vec<_>>())
        .collect();
    names.into_iter()
}

fn manifest(name: &str) -> Table {
    let path = project_root().join(name).join("Cargo.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn sources(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
