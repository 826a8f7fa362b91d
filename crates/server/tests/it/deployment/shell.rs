//! The command line: what it says of itself to people, shells and manual pages; whether a server lives.

use std::{collections::BTreeSet, fs, net::TcpListener, process::Command as Process};

use serde_json::Value;
use tempfile::TempDir;

use super::Certificate;
use crate::kit::{Binary, Database, output};

/// Every command of the command line: its words, and its description.
fn all() -> Vec<(Vec<String>, clap::Command)> {
    fn walk(path: &[String], command: &clap::Command, into: &mut Vec<(Vec<String>, clap::Command)>) {
        into.push((path.to_vec(), command.clone()));
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            walk(&[path, &[sub.get_name().to_owned()]].concat(), sub, into);
        }
    }
    let mut root = mesh_server::cli::command();
    root.build();
    let mut all = Vec::new();
    walk(&[], &root, &mut all);
    all
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let dir = TempDir::new().unwrap();
    let mut command = Binary::command(dir.path());
    command.args(args);
    let ran = output(command);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{args:?} left something behind");
    ran
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let all = all();
    assert!(all.len() >= 25, "{} commands", all.len());
    for (path, command) in &all {
        let name = format!("mesh-server {}", path.join(" "));
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let (status, help, errors) = run(&args);
        assert_eq!((status, errors.as_str()), (Some(0), ""), "{name}");
        let example = help.split_once("Example").unwrap_or_else(|| panic!("{name} has no example: {help}")).1;
        assert!(example.contains(name.trim()), "{name}: the example is of something else: {example}");
        assert!(command.get_about().is_some(), "{name} does not say what it is");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{name}: {} has no help", arg.get_id());
        }
        args.pop();
        args.push("--no-such-flag");
        let (status, out, errors) = run(&args);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{name}: {errors}");
        assert!(errors.contains("--no-such-flag"), "{name}: {errors}");
    }
    // The statuses are told where everybody looks first.
    let (_, help, _) = run(&["--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("Exit status") && help.contains("2 where a setting"), "{help}");
}

#[test]
fn the_version_tells_what_was_built() {
    let (status, out, errors) = run(&["--version"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let line =
        out.strip_prefix(concat!("mesh-server ", env!("CARGO_PKG_VERSION"), " (")).unwrap_or_else(|| panic!("{out}"));
    let build = line.strip_suffix(")\n").unwrap_or_else(|| panic!("{out}"));
    // A release tells commit and day; `service::info` tests where it has them from.
    let known = build.split(' ').next().is_some_and(|c| c.len() == 12 && c.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(known || build == "development build" || build == "commit unknown", "{out}");
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("share/man1");
    let (status, out, errors) = run(&["man", folder.to_str().unwrap()]);
    assert_eq!((status, out.as_str(), errors.as_str()), (Some(0), "", ""));
    let there: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let page = |path: &[String]| format!("{}.1", [&["mesh-server".to_owned()], path].concat().join("-"));
    let wanted: BTreeSet<String> = all().iter().map(|(path, _)| page(path)).collect();
    assert_eq!(there, wanted);
    for name in &there {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.is_ascii(), "{name}: not every troff reads that");
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", "Example"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
    let (status, out, _) = run(&["man"]);
    assert_eq!(status, Some(0));
    assert_eq!(out, fs::read_to_string(folder.join("mesh-server.1")).unwrap());
    assert!(out.contains("MESH_PUBLIC_URL") && out.contains("Exit status"), "settings and statuses stand in it");
    let sub = fs::read_to_string(folder.join("mesh-server-user-add.1")).unwrap();
    assert!(!sub.contains("MESH_PUBLIC_URL"), "once is enough");
}

#[test]
fn shells_complete_commands_and_flags() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef mesh-server"), ("fish", "complete -c mesh-server")]
    {
        let (status, script, errors) = run(&["completions", shell]);
        assert_eq!((status, errors.as_str()), (Some(0), ""));
        assert!(script.contains(mark), "{shell}: {script}");
        for (path, _) in all() {
            assert!(path.iter().all(|word| script.contains(word.as_str())), "{shell} does not know {path:?}");
        }
    }
    let (status, _, errors) = run(&["completions", "cmd.exe"]);
    assert_eq!(status, Some(2));
    assert!(errors.contains("bash, zsh, fish"), "{errors}");

    // What bash itself makes of it.
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("mesh-server.bash");
    fs::write(&file, run(&["completions", "bash"]).1).unwrap();
    let complete = |words: &str| {
        let script = format!(
            "source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             $(complete -p mesh-server | sed 's/.*-F \\([^ ]*\\).*/\\1/') mesh-server \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let ran = Process::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete("mesh-server healthc"), "healthcheck");
    assert_eq!(complete("mesh-server user dis"), "disable");
    assert_eq!(complete("mesh-server healthcheck --rea"), "--ready");
}

#[test]
fn programs_read_the_state_of_the_migrations() {
    let database = Database::new();
    let mut command = Binary::command(database.dir.path());
    command.args(["migrate", "status", "--json"]).env("DATABASE_URL", &database.url);
    let (status, out, errors) = output(command);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let all: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert!(all.len() >= 5, "{out}");
    assert!(all.iter().all(|m| m["version"].is_i64() && m["name"].is_string() && m["applied"] == false), "{out}");
}

/// What `healthcheck` says with these settings: status, standard output, standard error.
fn check(database: &Database, args: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Binary::command(database.dir.path());
    command.arg("healthcheck").args(args).envs(settings.iter().copied());
    output(command)
}

#[test]
fn healthcheck_asks_the_server_of_its_settings() {
    let database = Database::new();
    let server = Binary::start(&database, &[]);
    let port = server.base.rsplit_once(':').unwrap().1.to_owned();
    // By the machine's own address where it listens on all.
    for host in ["127.0.0.1", "0.0.0.0"] {
        let settings = [("MESH_PORT", port.as_str()), ("MESH_HOST", host)];
        assert_eq!(check(&database, &[], &settings), (Some(0), "ok\n".into(), String::new()));
    }
    let settings = [("MESH_PORT", port.as_str())];
    let (status, out, _) = check(&database, &["--ready", "--json"], &settings);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &told["well"], &told["status"]), (Some(0), &true.into(), &200.into()), "{told}");
    assert_eq!(told["url"], format!("http://127.0.0.1:{port}/ready"));
    // Settings count as for any command: `.env` too.
    fs::write(database.dir.path().join(".env"), format!("MESH_PORT={port}\n")).unwrap();
    assert_eq!(check(&database, &[], &[]).0, Some(0));
    fs::remove_file(database.dir.path().join(".env")).unwrap();

    let (status, out, errors) = check(&database, &[], &[("MESH_PORT", "0")]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(errors.contains("MESH_PORT"), "{errors}");
    assert_eq!(check(&database, &[], &[("MESH_PORT", "many")]).0, Some(2));
    server.stop();
    let (status, out, errors) = check(&database, &[], &settings);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(errors.contains(&format!("http://127.0.0.1:{port}/health")), "{errors}");
    let (status, out, _) = check(&database, &["--json"], &settings);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &told["well"], &told["status"]), (Some(1), &false.into(), &Value::Null), "{told}");
}

#[test]
fn healthcheck_tells_what_is_wrong() {
    let database = Database::new();
    let server = Binary::start(&database, &[("MESH_DRAIN_SECONDS", "3600")]);
    let port = server.base.rsplit_once(':').unwrap().1.to_owned();
    let settings = [("MESH_PORT", port.as_str())];
    server.signal("TERM");
    server.wait_for_log("no more work is wanted");
    assert_eq!(check(&database, &[], &settings).0, Some(0), "it lives");
    let (status, _, errors) = check(&database, &["--ready"], &settings);
    assert_eq!(status, Some(1));
    assert!(errors.contains("503 stopping"), "{errors}");
    // Somebody who takes connections and never answers is given up.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let (status, _, errors) = check(&database, &["--timeout", "1"], &[("MESH_PORT", port.as_str())]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("no answer in time"), "{errors}");
}

#[test]
fn healthcheck_speaks_tls_where_the_server_does() {
    let database = Database::new();
    let pair = Certificate::make(database.dir.path(), "chat.example.org");
    let files = [("MESH_TLS_CERT", pair.cert.to_str().unwrap()), ("MESH_TLS_KEY", pair.key.to_str().unwrap())];
    let server = Binary::start(&database, &files);
    let port = server.base.rsplit_once(':').unwrap().1.to_owned();
    let settings = [files[0], files[1], ("MESH_PORT", port.as_str())];
    assert_eq!(check(&database, &["--ready"], &settings), (Some(0), "ok\n".into(), String::new()));
    let (status, _, errors) = check(&database, &[], &[("MESH_PORT", port.as_str())]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("answers 400"), "{errors}");
}
