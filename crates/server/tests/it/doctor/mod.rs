//! `mesh-server doctor`: the real binary, against what goes wrong.

mod around;
mod turn;

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::kit::{Binary, output};

/// What the doctor said.
pub struct Visit {
    pub status: Option<i32>,
    pub report: Value,
    /// All that was printed.
    pub printed: String,
}

impl Visit {
    /// Calls the doctor in a folder, with these settings alone.
    pub fn pay(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Binary::command(dir);
        command.envs(settings.iter().copied());
        Self::by(command)
    }

    /// As [`Self::pay`], with a command that is prepared.
    pub fn by(mut command: Command) -> Self {
        command.args(["doctor", "--json"]);
        let (status, said, complained) = output(command);
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}{complained}"));
        let visit = Self { status, report, printed: said + &complained };
        let failed = visit.report["checks"].as_array().unwrap().iter().any(|c| c["status"] == "failed");
        assert_eq!(visit.report["well"], !failed, "{}", visit.printed);
        assert_eq!(visit.status, Some(i32::from(failed)), "{}", visit.printed);
        visit
    }

    pub fn check(&self, name: &str) -> &Value {
        let checks = self.report["checks"].as_array().unwrap();
        checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name} in {}", self.printed))
    }

    /// The sentence of a check that is well.
    pub fn ok(&self, name: &str) -> &str {
        self.found(name, "ok")
    }

    pub fn skipped(&self, name: &str) -> &str {
        self.found(name, "skipped")
    }

    /// A check that failed holds these words, and says what to do.
    pub fn failed(&self, name: &str, words: &str) {
        let sentence = self.found(name, "failed");
        assert!(sentence.contains(words), "{words:?} is not in {sentence:?}");
        assert!(self.check(name)["mend"].as_str().is_some_and(|mend| mend.len() > 10), "{}", self.printed);
    }

    fn found(&self, name: &str, status: &str) -> &str {
        let check = self.check(name);
        assert_eq!(check["status"], status, "{}", self.printed);
        check["sentence"].as_str().unwrap()
    }

    /// The names of those that failed.
    pub fn failures(&self) -> Vec<&str> {
        let checks = self.report["checks"].as_array().unwrap().iter();
        checks.filter(|c| c["status"] == "failed").map(|c| c["name"].as_str().unwrap()).collect()
    }
}
