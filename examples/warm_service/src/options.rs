//! The command line: what the supervisor is asked for, and the roles that it starts this program in.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::load;
use crate::orders::Shops;
use crate::service;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A service over SQLite is killed with SIGKILL under load and started again: with emberlog, then with memory only.

Usage: warm_service [OPTIONS]

  --dir DIR        work in DIR and keep it; a second run finds the SQLite file filled and the cache warm
  --keep           keep the temporary directory
  --rate N         requests a second [twice what SQLite could answer, 600 to 2000]
  --before S       seconds of load before the kill [7]
  --after S        seconds of load after it [8]
  --shops N        shops in the SQLite file, each with 110 reports [30]
  --orders N       orders of each shop: what one report adds up [18000]
  --memory-kib N   memory budget of the cache, in both runs [16384]
  --disk-kib N     disk budget, in the first run [131072]
  --skew X         exponent of Zipf's law [0.8]
  --fill N         percent of the reports that were asked for once before the load [95]
  --seed N         for the order of requests [1]
  --help

Exit code: 0 every promise kept, 1 one was broken, 2 could not run.
";

/// What the supervisor is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// A directory of the user's.
    pub(crate) dir: Option<PathBuf>,
    /// Keep the temporary one.
    pub(crate) keep: bool,
    /// Requests a second; otherwise as many as the origin's speed asks for.
    pub(crate) rate_per_s: Option<u64>,
    pub(crate) before_s: u64,
    pub(crate) after_s: u64,
    pub(crate) shops: Shops,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) skew: f64,
    /// Share of the reports that were asked for once before the load begins.
    pub(crate) fill_percent: u32,
    pub(crate) seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            dir: None,
            keep: false,
            rate_per_s: None,
            before_s: 7,
            after_s: 8,
            shops: Shops { count: 30, order_count: 18_000 },
            memory_bytes: 16 << 20,
            disk_bytes: 128 << 20,
            skew: 0.8,
            fill_percent: 95,
            seed: 1,
        }
    }
}

/// What this process is to be.
#[derive(Debug)]
pub(crate) enum Role {
    Help,
    Supervisor(Options),
    Service(service::Settings),
    Load(load::Plan),
}

/// Reads the command line.
pub(crate) fn role(mut parser: lexopt::Parser) -> Result<Role, Failure> {
    use lexopt::prelude::*;
    let bad = |error: lexopt::Error| Failure::new("see --help", error);
    let mut options = Options::default();
    while let Some(argument) = parser.next().map_err(bad)? {
        // The flag's name, for what is said of its value.
        let flag = match &argument {
            Long(flag) => (*flag).to_owned(),
            Value(role) => {
                let role = role.clone();
                let json = parser.value().map_err(bad)?.string().map_err(bad)?;
                return match role.to_str() {
                    Some("service") => parse_json(&json).map(Role::Service),
                    Some("load") => parse_json(&json).map(Role::Load),
                    _ => Err(Failure::new("see --help", format_args!("there is no role {}", role.display()))),
                };
            }
            Short(_) => return Err(bad(argument.unexpected())),
        };
        let mut number = |least: u64, most: u64| -> Result<u64, Failure> {
            let number = parser.value().map_err(bad)?.parse::<u64>().map_err(bad)?;
            let range = format_args!("--{flag} is {least} to {most}").to_string();
            if (least..=most).contains(&number) { Ok(number) } else { Err(Failure::new("see --help", range)) }
        };
        let count = |number: u64| u32::try_from(number).expect("bounded above");
        match flag.as_str() {
            "help" => return Ok(Role::Help),
            "keep" => options.keep = true,
            "dir" => options.dir = Some(parser.value().map_err(bad)?.into()),
            "rate" => options.rate_per_s = Some(number(10, 20_000)?),
            // At least the second that is compared, and one before it.
            "before" => options.before_s = number(2, 600)?,
            "after" => options.after_s = number(2, 600)?,
            "shops" => options.shops.count = count(number(1, 10_000)?),
            "orders" => options.shops.order_count = count(number(365, 10_000_000)?),
            "memory-kib" => options.memory_bytes = number(1024, 1 << 30)? << 10,
            "disk-kib" => options.disk_bytes = number(1024, 1 << 32)? << 10,
            "fill" => options.fill_percent = count(number(0, 100)?),
            "seed" => options.seed = number(0, u64::MAX)?,
            "skew" => {
                options.skew = parser.value().map_err(bad)?.parse().map_err(bad)?;
                if !(0.0..=3.0).contains(&options.skew) {
                    return Err(Failure::new("see --help", "--skew is 0 to 3"));
                }
            }
            _ => return Err(Failure::new("see --help", format_args!("there is no option --{flag}"))),
        }
    }
    Ok(Role::Supervisor(options))
}

fn parse_json<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| Failure::new("a role takes what the supervisor gives it", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Role, Failure> {
        role(lexopt::Parser::from_args(arguments))
    }

    #[test]
    fn options_are_read_and_the_rest_stays_as_it_is() {
        let Ok(Role::Supervisor(options)) = parse(&["--rate", "50", "--keep", "--skew=0.5", "--memory-kib", "2048"])
        else {
            panic!("these are good")
        };
        assert_eq!((options.rate_per_s, options.keep, options.memory_bytes), (Some(50), true, 2 << 20));
        assert!((options.skew - 0.5).abs() < f64::EPSILON && options.after_s == Options::default().after_s);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_name() {
        for (arguments, named) in [
            (["--rate", "5"], "--rate is 10 to 20000"),
            (["--skew", "9"], "--skew is 0 to 3"),
            (["--orders", "many"], "many"),
            (["--colour", "red"], "--colour"),
            (["nobody", "{}"], "nobody"),
        ] {
            let failure = parse(&arguments).unwrap_err().to_string();
            assert!(failure.contains(named), "{arguments:?}: {failure}");
        }
    }
}
