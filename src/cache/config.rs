//! Settings as plain data: from files, from environment variables, and back.
//!
//! Knows: every setting that can be written down, its name and its words. Does not know: which values work together (`plan`), nor settings that are
//! objects, such as a clock; those are the [`Builder`]'s.
//!
//! Invariants
//!  I-CFG-1  A `Config` that is written and read again is the same.
//!  I-CFG-2  [`Config::KEYS`] are the names of the fields, in their order.

use super::Cache;
use super::builder::{Builder, Durability, Maintenance, QuietWindows, ReadMode, WhenBehind};
use super::plan::Plan;
use crate::error::{Error, ErrorKind};
use crate::units;
use serde::de::value::Error as WordError;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

/// The word that sets a key back to its default.
const DEFAULT: &str = "default";

/// All settings of a cache that can be written down. The [`Builder`] holds one and adds what cannot, such as a clock.
///
/// Serializes with lengths as `"256MiB"` and durations as `"1h"`; reads lengths as text or as a number of bytes ([`units`]). Keys that are left out have
/// their default, unknown keys are an error. Nothing is checked before [`validate`](Self::validate), which every open begins with: so a file may be
/// completed by the environment.
///
/// ```
/// use emberlog::{Config, Durability};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config: Config = serde_json::from_str(r#"{
///     "memory_bytes": "256MiB", "disk_bytes": "10GiB", "durability": "written", "time_to_live": "1h"
/// }"#)?;
/// assert_eq!(config.memory_bytes, 256 << 20);
/// assert_eq!(config.durability, Durability::Written);
/// assert_eq!(config.time_to_live, Some(Duration::from_secs(3600)));
/// config.validate()?;
///
/// let mistake = serde_json::from_str::<Config>(r#"{ "memory": "256MiB" }"#).unwrap_err();
/// assert!(mistake.to_string().contains("`memory`"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// All memory that the cache takes: see [`Builder::memory_bytes`]. Up to 4 TiB; the smallest that works depends on the rest. Default 64 MiB.
    #[serde(with = "units::bytes")]
    pub memory_bytes: u64,
    /// All storage that the directory takes: see [`Builder::disk_bytes`]. Four segments to 8,184 segments. Default 1 GiB.
    #[serde(with = "units::bytes")]
    pub disk_bytes: u64,
    /// When an insert or remove counts as done on disk: `buffered`, `written` or `synced`. Default `buffered`.
    pub durability: Durability,
    /// What an insert does when the disk cannot keep up: `wait` or `drop`. Default `wait`.
    pub when_behind: WhenBehind,
    /// Who does the work behind requests: `background` or `manual`. Default `background`.
    pub maintenance: Maintenance,
    /// How records on disk are read: `mapped` or `pread`. Default `mapped`.
    pub read_mode: ReadMode,
    /// How much is appended again, in percent of what requests append, 0 to 100: see [`Builder::reinsert_percent`]. Default 20.
    pub reinsert_percent: u32,
    /// What may be written beyond keys and values, in percent of them, 0 to 1000: see [`Builder::write_overhead_percent`]. Default 25.
    pub write_overhead_percent: u32,
    /// Most bytes per second that are appended again under load: see [`Builder::reinsert_bytes_per_s`]. Up to 1 TiB. Default 256 MiB.
    #[serde(with = "units::bytes")]
    pub reinsert_bytes_per_s: u64,
    /// When work is done ahead of need: `detected`, `always` or `asked`. Default `detected`.
    pub quiet_windows: QuietWindows,
    /// How long entries may be served that say nothing else, 1 ms to 49,710 days. Default: for ever.
    #[serde(with = "units::optional_duration", skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<Duration>,
    /// Number of shards, 1 to 1,024. Default: see [`Builder::shards`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<usize>,
    /// Length of a segment file, 64 KiB to 1 GiB. Default: see [`Builder::segment_len_bytes`].
    #[serde(with = "units::optional_bytes", skip_serializing_if = "Option::is_none")]
    pub segment_len_bytes: Option<u64>,
    /// Length of the append buffer, 16 KiB to 1 GiB. Default: see [`Builder::append_buffer_bytes`].
    #[serde(with = "units::optional_bytes", skip_serializing_if = "Option::is_none")]
    pub append_buffer_bytes: Option<u64>,
    /// Memory for the index of the disk tier, from 4 KiB to what the memory budget has room for. Default: see [`Builder::disk_index_bytes`].
    #[serde(with = "units::optional_bytes", skip_serializing_if = "Option::is_none")]
    pub disk_index_bytes: Option<u64>,
    /// Expected mean of key and value together, 1 byte to 1 GiB. Default 256 bytes.
    #[serde(with = "units::bytes")]
    pub expected_entry_bytes: u64,
    /// One request in so many is measured, 0 to 1,048,576, 0 for none: see [`Builder::sample_one_in`]. Default 256.
    pub sample_one_in: u32,
    /// Whether the cache keeps a page of its counters in the directory: see [`Builder::counters_page`]. Default true.
    pub counters_page: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            disk_bytes: 1 << 30,
            durability: Durability::default(),
            when_behind: WhenBehind::default(),
            maintenance: Maintenance::default(),
            read_mode: ReadMode::default(),
            reinsert_percent: 20,
            write_overhead_percent: 25,
            reinsert_bytes_per_s: 256 << 20,
            quiet_windows: QuietWindows::default(),
            time_to_live: None,
            shards: None,
            segment_len_bytes: None,
            append_buffer_bytes: None,
            disk_index_bytes: None,
            expected_entry_bytes: 256,
            sample_one_in: 256,
            counters_page: true,
        }
    }
}

impl Config {
    /// The names of all settings.
    pub const KEYS: [&'static str; 18] = [
        "memory_bytes",
        "disk_bytes",
        "durability",
        "when_behind",
        "maintenance",
        "read_mode",
        "reinsert_percent",
        "write_overhead_percent",
        "reinsert_bytes_per_s",
        "quiet_windows",
        "time_to_live",
        "shards",
        "segment_len_bytes",
        "append_buffer_bytes",
        "disk_index_bytes",
        "expected_entry_bytes",
        "sample_one_in",
        "counters_page",
    ];

    /// A builder with these settings.
    pub fn builder(self) -> Builder {
        Builder::default().config(self)
    }

    /// Opens the store in this directory with these settings.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// # let parent = tempfile::tempdir().unwrap();
    /// # let path = parent.path().join("cache");
    /// let mut config = emberlog::Config::default();
    /// config.memory_bytes = 8 << 20;
    /// config.disk_bytes = 64 << 20;
    /// let cache = config.open(&path)?;
    /// # assert!(cache.insert("key", "value").is_stored());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Builder::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Cache, Error> {
        self.builder().open(path)
    }

    /// Checks all settings and how they go together, for a cache with a disk tier. Every open does so itself; for those who want to know sooner.
    ///
    /// ```
    /// let mut config = emberlog::Config::default();
    /// config.shards = Some(0);
    /// config.append_buffer_bytes = Some(1);
    /// let message = config.validate().unwrap_err().to_string();
    /// assert!(message.contains("shards = 0 is out of range: 1 to 1024"));
    /// assert!(message.contains("append_buffer_bytes = 1B is out of range: 16KiB to 1GiB"));
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with everything that is wrong: each time the key, its value and what is allowed; for a budget the smallest that
    /// works with the other settings.
    pub fn validate(&self) -> Result<(), Error> {
        Plan::new(self, true).map(|_| ())
    }

    /// Sets one key from text: a length, a duration, a number or a word, or `default`.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let mut config = emberlog::Config::default();
    /// config.set("memory_bytes", "1.5GiB")?;
    /// config.set("when_behind", "drop")?;
    /// assert_eq!(config.memory_bytes, 3 << 29);
    /// assert!(config.set("durability", "eternal").unwrap_err().to_string().contains("`synced`"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]: there is no such key, or the text cannot be read; the message says what can. Whether the value works is for
    /// [`validate`](Self::validate) to say.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), Error> {
        self.assign(key, text).map_err(|why| Error::new(ErrorKind::InvalidConfig, format!("{key}: {why}")))
    }

    fn assign(&mut self, key: &str, text: &str) -> Result<(), String> {
        let text = text.trim();
        let start = Self::default();
        let length = |text: &str| units::parse_bytes(text).map(Some);
        match key {
            "memory_bytes" => self.memory_bytes = read(text, start.memory_bytes, units::parse_bytes)?,
            "disk_bytes" => self.disk_bytes = read(text, start.disk_bytes, units::parse_bytes)?,
            "durability" => self.durability = read(text, start.durability, word)?,
            "when_behind" => self.when_behind = read(text, start.when_behind, word)?,
            "maintenance" => self.maintenance = read(text, start.maintenance, word)?,
            "read_mode" => self.read_mode = read(text, start.read_mode, word)?,
            "reinsert_percent" => self.reinsert_percent = read(text, start.reinsert_percent, number)?,
            "write_overhead_percent" => {
                self.write_overhead_percent = read(text, start.write_overhead_percent, number)?;
            }
            "reinsert_bytes_per_s" => {
                self.reinsert_bytes_per_s = read(text, start.reinsert_bytes_per_s, units::parse_bytes)?;
            }
            "quiet_windows" => self.quiet_windows = read(text, start.quiet_windows, word)?,
            "time_to_live" => {
                self.time_to_live = read(text, start.time_to_live, |text| units::parse_duration(text).map(Some))?;
            }
            "shards" => self.shards = read(text, start.shards, |text| number(text).map(Some))?,
            "segment_len_bytes" => self.segment_len_bytes = read(text, start.segment_len_bytes, length)?,
            "append_buffer_bytes" => self.append_buffer_bytes = read(text, start.append_buffer_bytes, length)?,
            "disk_index_bytes" => self.disk_index_bytes = read(text, start.disk_index_bytes, length)?,
            "expected_entry_bytes" => {
                self.expected_entry_bytes = read(text, start.expected_entry_bytes, units::parse_bytes)?;
            }
            "sample_one_in" => self.sample_one_in = read(text, start.sample_one_in, number)?,
            "counters_page" => {
                let yes_or_no = |text: &str| text.parse().map_err(|_| format!("{text:?} is neither true nor false"));
                self.counters_page = read(text, start.counters_page, yes_or_no)?;
            }
            _ => return Err(format!("there is no such setting; there are {}", Self::KEYS.join(", "))),
        }
        Ok(())
    }

    /// The defaults, with what environment variables of this prefix say: see [`with_env`](Self::with_env).
    ///
    /// # Errors
    /// Those of [`with_env`](Self::with_env).
    pub fn from_env(prefix: &str) -> Result<Self, Error> {
        Self::default().with_env(prefix)
    }

    /// These settings, with what environment variables say over them: for the prefix `EMBERLOG_` the variables `EMBERLOG_MEMORY_BYTES`,
    /// `EMBERLOG_DURABILITY` and so on, each key in capitals. The value `default` sets a key back.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] with every variable of this prefix that names no setting or cannot be read; or the prefix is empty.
    pub fn with_env(self, prefix: &str) -> Result<Self, Error> {
        self.with_variables(prefix, std::env::vars_os())
    }

    /// The same with variables that the caller names. Those without the prefix are not looked at.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// use emberlog::Config;
    /// let variables = [("SHOP_CACHE_MEMORY_BYTES", "128MiB"), ("SHOP_CACHE_TIME_TO_LIVE", "90s"), ("HOME", "/")];
    /// let config = Config::default().with_variables("SHOP_CACHE_", variables)?;
    /// assert_eq!(config.memory_bytes, 128 << 20);
    ///
    /// let mistake = Config::default().with_variables("SHOP_CACHE_", [("SHOP_CACHE_MEMORY", "1GiB")]).unwrap_err();
    /// assert!(mistake.to_string().contains("SHOP_CACHE_MEMORY: there is no such setting"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`with_env`](Self::with_env).
    pub fn with_variables<K, V>(
        mut self,
        prefix: &str,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Error>
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        if prefix.is_empty() {
            let message = "the prefix of environment variables is empty: every variable would be a setting";
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        // Sorted, so that the same mistakes give the same message.
        let ours: BTreeMap<String, OsString> = variables
            .into_iter()
            .map(|(name, value)| (name.as_ref().to_string_lossy().into_owned(), value.as_ref().to_owned()))
            .filter(|(name, _)| name.starts_with(prefix))
            .collect();
        let mut problems = Vec::new();
        for (name, value) in &ours {
            let in_capitals = &name[prefix.len()..];
            let key = Self::KEYS.iter().find(|key| key.to_ascii_uppercase() == in_capitals);
            let outcome = match (key, value.to_str()) {
                (Some(key), Some(text)) => self.assign(key, text),
                (Some(_), None) => Err("the value is not UTF-8".to_owned()),
                (None, _) => Err(format!(
                    "there is no such setting; behind {prefix} there are {}",
                    Self::KEYS.join(", ").to_ascii_uppercase()
                )),
            };
            problems.extend(outcome.err().map(|why| format!("{name}: {why}")));
        }
        if problems.is_empty() { Ok(self) } else { Err(Error::new(ErrorKind::InvalidConfig, problems.join("; "))) }
    }
}

#[cfg(feature = "toml")]
impl Config {
    /// Longest file that is read: settings are a few hundred bytes.
    const FILE_LEN_MAX: u64 = 1 << 20;

    /// Reads settings from TOML.
    ///
    /// ```
    /// # fn main() -> Result<(), emberlog::Error> {
    /// let config = emberlog::Config::from_toml_str(r#"
    ///     memory_bytes = "256MiB"
    ///     disk_bytes = "10GiB"
    ///     time_to_live = "7d"
    /// "#)?;
    /// assert_eq!(config.disk_bytes, 10 << 30);
    /// assert_eq!(emberlog::Config::from_toml_str(&config.to_toml_string())?, config);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]: it is no TOML, a key is unknown, or a value cannot be read; the message shows the line.
    pub fn from_toml_str(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::new(ErrorKind::InvalidConfig, error.to_string().trim_end()))
    }

    /// Reads settings from a TOML file of at most 1 MiB.
    ///
    /// # Errors
    /// Those of [`from_toml_str`](Self::from_toml_str), and [`ErrorKind::InvalidConfig`] if the file cannot be read; the message names it.
    pub fn from_toml_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let named = |what: &dyn std::fmt::Display| {
            Error::new(ErrorKind::InvalidConfig, format!("settings in {}: {what}", path.display()))
        };
        let text = crate::disk::read_text(path, Self::FILE_LEN_MAX).map_err(|error| named(&error))?;
        Self::from_toml_str(&text).map_err(|error| named(&error))
    }

    /// These settings as TOML; keys that are not set are left out.
    pub fn to_toml_string(&self) -> String {
        toml::to_string(self).expect("numbers, words and lengths can be written: I-CFG-1")
    }
}

fn read<T>(text: &str, default: T, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
    if text == DEFAULT { Ok(default) } else { parse(text) }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}

/// One of the words of an enumeration, as serde reads it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(text.into_deserializer()).map_err(|error: WordError| error.to_string())
}
