//! `emberlog man`: the man pages, one for the program and one for each command.
//!
//! Knows: which sections a page has, and in which order. What stands in them is declared with the options and in
//! `guide`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::failure::Failure;
use crate::guide;
use crate::output;
use crate::verdict::Verdict;

/// When what the pages say last changed; the day of the build would make two builds differ.
const CHANGED: &str = "2026-11-23";

/// What the command can be told.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command whose page goes to stdout [default: the page of the program]
    #[arg(conflicts_with = "out")]
    command: Option<String>,
    /// Write all pages to this directory, as emberlog.1, emberlog-inspect.1 and so on; it is made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command: pages of `program`.
pub(crate) fn man(args: &ManArgs, program: Command) -> Result<Verdict, Failure> {
    let pages = pages(program)?;
    if let Some(dir) = &args.out {
        let failed = |error: std::io::Error| Failure::new(format!("cannot write to {}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        for page in &pages {
            std::fs::write(dir.join(format!("{}.1", page.name)), &page.bytes).map_err(failed)?;
        }
        return Ok(Verdict::Good);
    }
    let asked = args.command.as_deref().unwrap_or("emberlog");
    let name = guide::full_name(asked).replace(' ', "-");
    let Some(page) = pages.iter().find(|page| page.name == name) else {
        let names: Vec<&str> = pages.iter().filter_map(|page| page.name.strip_prefix("emberlog-")).collect();
        return Err(Failure::new(format!("there is no command {asked:?}; there are {}", names.join(", "))));
    };
    output::bytes(&page.bytes)?;
    Ok(Verdict::Good)
}

/// One page.
struct Page {
    /// As in `emberlog-inspect`.
    name: String,
    bytes: Vec<u8>,
}

fn pages(program: Command) -> Result<Vec<Page>, Failure> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let shown = program.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<Command> = std::iter::once(&program).chain(shown).cloned().collect();
    let names: Vec<String> = commands.iter().map(page_name).collect();
    commands
        .into_iter()
        .map(|command| {
            let (name, word) = (page_name(&command), command.get_name().to_owned());
            let mut bytes = Vec::new();
            render(command, &word, &name, &names, &mut bytes)?;
            Ok(Page { name, bytes })
        })
        .collect()
}

fn page_name(command: &Command) -> String {
    guide::full_name(command.get_name()).replace(' ', "-")
}

fn render(mut command: Command, word: &str, name: &str, names: &[String], out: &mut Vec<u8>) -> std::io::Result<()> {
    let has_subcommands = command.has_subcommands();
    let usage = command.render_usage().to_string();
    let page = Man::new(command);
    let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    writeln!(out, ".TH {title} 1 \"{CHANGED}\" \"emberlog {version}\" \"emberlog\"")?;
    page.render_name_section(out)?;
    let mut roff = Roff::default();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(usage.trim_start_matches("Usage:").trim())]);
    roff.to_writer(out)?;
    page.render_description_section(out)?;
    let mut roff = Roff::default();
    let guide = guide::of(word);
    for note in guide.map_or(&[][..], |guide| guide.notes) {
        roff.control("PP", []);
        roff.text([roman(*note)]);
    }
    roff.to_writer(out)?;
    if has_subcommands {
        page.render_subcommands_section(out)?;
    }
    let mut options = Vec::new();
    page.render_options_section(&mut options)?;
    out.extend_from_slice(&tidied(&options));
    let mut roff = Roff::default();
    if let Some(guide) = guide {
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in guide.exits {
            roff.control("TP", ["4"]);
            roff.text([bold(code.to_string())]);
            roff.text([roman(*meaning)]);
        }
        roff.control("SH", ["EXAMPLES"]);
        for (line, purpose) in guide.examples {
            roff.control("TP", ["4"]);
            roff.text([bold(*line)]);
            roff.text([roman(*purpose)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    let others: Vec<&String> = names.iter().filter(|other| *other != name).collect();
    for (index, other) in others.iter().enumerate() {
        let end = if index + 1 == others.len() { "(1)" } else { "(1)," };
        roff.text([bold(other.as_str()), roman(end)]);
    }
    roff.to_writer(out)
}

/// Options without the breaks that the generator puts around an empty line, of which formatters warn.
fn tidied(options: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(options).replace(".br\n\n.br\n", "\n").into_bytes()
}
