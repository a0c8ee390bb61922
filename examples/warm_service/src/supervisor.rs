//! The run: data, a trial with emberlog, the same with memory only, the page.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;
use crate::failure::Failure;
use crate::household::{self, Household};
use crate::load::Plan;
pub(crate) use crate::options::Options;
use crate::origin::{self, Origin};
use crate::page;
use crate::promises::{self, Judged};
use crate::seconds;
use crate::service::Settings;
use crate::trial;

/// Seconds before the kill that are printed, at most.
const SHOWN_BEFORE_MAX: u64 = 5;

/// What is there before the first trial.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) database: PathBuf,
    pub(crate) cache: PathBuf,
    /// What one report takes of an idle SQLite.
    pub(crate) query_ns: u64,
    pub(crate) report_len_bytes: u64,
    /// Requests a second.
    pub(crate) rate_per_s: u64,
}

/// Runs all, prints the page; tells whether every promise was kept.
pub(crate) fn run(options: &Options) -> Result<bool, Failure> {
    let household = Household::new()?;
    let directory = match &options.dir {
        Some(directory) => household::make_directory_at(directory)?,
        None => household.make_directory()?,
    };
    let made = make(options, directory)?;

    let settings = Settings {
        address: ([127, 0, 0, 1], 0).into(),
        database: made.database.clone(),
        shops: options.shops,
        memory_bytes: options.memory_bytes,
        disk_bytes: options.disk_bytes,
        cache: Some(made.cache.clone()),
    };
    let plan = Plan {
        address: settings.address,
        shops: options.shops,
        skew: options.skew,
        seed: options.seed,
        fill_count: count_of(options.shops.report_count(), options.fill_percent),
        rate_per_s: made.rate_per_s,
        seconds: options.before_s + options.after_s,
    };
    let warm = judged(options, trial::run(&household, &settings, &plan, options.before_s, &Show::new("2/3 emberlog"))?);
    // The most popular reports, as many as memory holds: more would only push each other out.
    let in_memory = u32::try_from(options.memory_bytes / made.report_len_bytes.max(1)).unwrap_or(u32::MAX);
    let plan = Plan { fill_count: plan.fill_count.min(in_memory), ..plan };
    let settings = Settings { cache: None, ..settings };
    let control =
        judged(options, trial::run(&household, &settings, &plan, options.before_s, &Show::new("3/3 memory only"))?);

    let promises = promises::judge(options, &warm, &control);
    let kept = options.keep || options.dir.is_some();
    if kept {
        household.keep_directory();
    }
    let text = page::page(options, &made, &warm, &control, &promises) + &page::places(&made, kept);
    // Nobody reads what nobody listens to; the exit code tells the same.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(promises.iter().all(|promise| promise.kept))
}

/// Requests a second: about twice what the origin could answer alone, so that a cold cache shows, wherever this runs. Fewer than 600 would be
/// too few to tell percentiles from, more than 2,000 too much for the two cores of a small machine.
fn rate_for(query_ns: u64) -> u64 {
    (clock::SECOND_NS * 22 / 10 / query_ns.max(1) / 10 * 10).clamp(600, 2000)
}

/// So many percent of a count.
fn count_of(all: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(all) * u64::from(percent) / 100).unwrap_or(all)
}

fn judged(options: &Options, trial: trial::Trial) -> Judged {
    // The last second of the load is not whole: the outage comes out of it.
    let (seconds, outage) = seconds::seconds(&trial, options.before_s.min(SHOWN_BEFORE_MAX), options.after_s - 1);
    Judged { trial, seconds, outage }
}

/// Fills the SQLite file, and asks it some reports, to know what one costs.
fn make(options: &Options, directory: PathBuf) -> Result<Made, Failure> {
    const ASKED: u32 = 20;
    let (database, cache) = (directory.join("shop.db"), directory.join("cache"));
    let show = Show::new("1/3 SQLite");
    show.begin("filling the file", u64::from(options.shops.count));
    origin::fill(&database, options.shops, |done| show.at(u64::from(done)))?;
    show.end();
    let origin = Origin::open(&database)?;
    let mut report_len_bytes = 0;
    let mut took_ns: Vec<u64> = Vec::new();
    for rank in 0..ASKED.min(options.shops.report_count()) {
        let from_ns = clock::now_ns();
        let body = origin.report(options.shops.report(rank));
        let body = body.map_err(|error| Failure::new("cannot ask SQLite", error))?;
        took_ns.push(clock::now_ns() - from_ns);
        report_len_bytes = body.len() as u64;
    }
    took_ns.sort_unstable();
    // The fastest: the others may have waited for a core.
    let rate_per_s = options.rate_per_s.unwrap_or_else(|| rate_for(took_ns[0]));
    Ok(Made { database, cache, query_ns: seconds::percentile(&took_ns, 500), report_len_bytes, rate_per_s })
}

/// How far the run is: a bar on a terminal, else a line for each step.
#[derive(Debug)]
pub(crate) struct Show {
    bar: ProgressBar,
    title: String,
}

impl Show {
    /// Shows nothing yet.
    pub(crate) fn new(title: &str) -> Show {
        Show { bar: ProgressBar::hidden(), title: format!("{title:16}") }
    }

    /// A step of so many parts begins.
    pub(crate) fn begin(&self, step: &str, len: u64) {
        if !std::io::stderr().is_terminal() {
            // As for the bar: nobody has to read it.
            let _ = writeln!(std::io::stderr(), "{} {step}", self.title);
            return;
        }
        self.bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}").expect("the template is well formed");
        self.bar.set_style(style.progress_chars("█▌·"));
        self.bar.set_prefix(self.title.clone());
        self.bar.set_message(step.to_owned());
        self.bar.set_length(len);
        self.bar.set_position(0);
    }

    /// So many parts are done.
    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// One more part of the load is done.
    pub(crate) fn going(&self, answer_count: u64, hit_count: u64, is_killed: bool) {
        let life = if is_killed { "killed and back" } else { "under load" };
        #[allow(clippy::cast_precision_loss, reason = "a share to look at")]
        let share = hit_count as f64 / answer_count.max(1) as f64;
        self.bar.set_message(format!("{life}: {} of answers from the cache", promises::percent(share)));
        self.bar.inc(1);
    }

    /// All is done.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_origin_gets_more_requests_within_limits() {
        assert_eq!([10_000_000, 2_000_000, 100_000, 0].map(rate_for), [600, 1100, 2000, 2000]);
    }

    #[test]
    fn a_share_of_a_count_does_not_overflow() {
        assert_eq!([count_of(3300, 95), count_of(u32::MAX, 100), count_of(10, 0)], [3135, u32::MAX, 0]);
    }
}
