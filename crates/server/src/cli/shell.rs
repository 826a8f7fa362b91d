//! `mesh-server man` and `mesh-server completions`: made from the command line's own description.

use std::{fs, path::PathBuf};

use clap::{Arg, ArgMatches, Command, builder::PossibleValuesParser};
use clap_complete::Shell;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{Outcome, failure, print};
use crate::{config::SETTINGS, service::info};

const NAME: &str = "mesh-server";
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

pub(super) fn commands() -> [Command; 2] {
    let man = Command::new("man")
        .about("Print the manual page, or write one for each command")
        .arg(
            Arg::new("DIR")
                .value_parser(clap::value_parser!(PathBuf))
                .help("A folder for the pages; it is made where it is not there"),
        )
        .after_help("Examples:\n  mesh-server man | man -l -\n  mesh-server man /usr/local/share/man/man1");
    let completions = Command::new("completions")
        .about("Print what lets a shell complete the commands and flags")
        .arg(Arg::new("SHELL").required(true).value_parser(PossibleValuesParser::new(SHELLS)).help("The shell"))
        .after_help(
            "Examples:\n  mesh-server completions bash > /etc/bash_completion.d/mesh-server\n  \
             mesh-server completions zsh > /usr/local/share/zsh/site-functions/_mesh-server\n  \
             mesh-server completions fish > ~/.config/fish/completions/mesh-server.fish",
        );
    [man, completions]
}

/// A command's page. The settings, which every command takes, are told in the first page alone.
fn page(command: Command, first: bool) -> std::io::Result<(String, Vec<u8>)> {
    let is_setting = |arg: &Arg| arg.get_help_heading() == Some(SETTINGS);
    let mut command = command.mut_args(|arg| {
        let hidden = !first && is_setting(&arg);
        arg.hide_short_help(false).hide(hidden)
    });
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(command).source(format!("{NAME} {}", info::VERSION)).manual("Mesh Server");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    // Not the library's own synopsis, which names every setting.
    Roff::new().control("SH", ["SYNOPSIS"]).text([roman(usage)]).to_writer(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    man.render_subcommands_section(&mut text)?;
    man.render_extra_section(&mut text)?;
    if !first {
        let words = "Every command takes the settings of the server, from .env, the environment and flags.";
        Roff::new().control("SH", ["SEE ALSO"]).text([roman(format!("{NAME}(1): {words}"))]).to_writer(&mut text)?;
    }
    // Not every troff reads UTF-8 by itself.
    let text = String::from_utf8_lossy(&text).replace('…', "...").replace('’', "'").into_bytes();
    Ok((man.get_filename(), text))
}

/// The pages of a command and its subcommands: file name and text.
fn pages(command: &Command, first: bool, into: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    into.push(page(command.clone(), first)?);
    command.get_subcommands().try_for_each(|sub| pages(sub, false, into))
}

pub(super) fn man(mut command: Command, sub: &ArgMatches) -> Outcome {
    command = command.disable_help_subcommand(true);
    command.build();
    let mut all = Vec::new();
    pages(&command, true, &mut all).map_err(|e| failure(e.to_string()))?;
    let Some(folder) = sub.get_one::<PathBuf>("DIR") else {
        let page = all.first().map(|(_, text)| String::from_utf8_lossy(text)).unwrap_or_default();
        return print(&page);
    };
    let told = |path: &PathBuf| {
        let path = path.display().to_string();
        move |e: std::io::Error| failure(format!("{path}: {e}"))
    };
    fs::create_dir_all(folder).map_err(told(folder))?;
    for (name, text) in all {
        let path = folder.join(name);
        fs::write(&path, text).map_err(told(&path))?;
    }
    Ok(())
}

pub(super) fn completions(mut command: Command, sub: &ArgMatches) -> Outcome {
    let shell = match sub.get_one::<String>("SHELL").map(String::as_str) {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        _ => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut text);
    let text = String::from_utf8_lossy(&text);
    // clap_complete 4.6 writes a program's name with a hyphen in two ways, so that bash finds nothing behind its first word.
    print(&text.replace("mesh__subcmd__server", "mesh__server"))
}
