//! What `--help` and the man pages say of a command beyond its options: what its exit codes mean, how it is used,
//! where more stands.
//!
//! Knows: texts. Does not know: options; those are declared where they are read. One table serves both.

use clap::Command;

/// What is said of one command.
#[derive(Debug)]
pub(crate) struct Guide {
    command: &'static str,
    /// Exit codes, and what they mean.
    pub(crate) exits: &'static [(u8, &'static str)],
    /// Command lines, and what they are good for.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    /// Paragraphs that only some need.
    pub(crate) notes: &'static [&'static str],
}

const JSON_STAYS: &str = "With --json there is one object on stdout. Its keys are documented in tools/README.md; \
                          they stay as they are, and more may come.";
const ONLY_READS: &str =
    "Nothing is changed and no lock is taken: the store may be open in another process, have crashed, or be damaged.";
const NOT_RUN: (u8, &str) = (2, "could not run: no store, a later format, no permission, or wrong usage");
const WRONG_USAGE: (u8, &str) = (2, "could not run, or wrong usage");

/// The whole program, then its commands.
const GUIDES: &[Guide] = &[
    Guide {
        command: "emberlog",
        exits: &[(0, "good"), (1, "found damage, or a broken promise"), (2, "could not run, or wrong usage")],
        examples: &[
            ("emberlog inspect /var/cache/shop", "what is in a directory, and how its space is used"),
            ("emberlog verify /var/cache/shop && echo sound", "check every checksum"),
            ("emberlog explain --memory 256MiB --disk 20GiB", "what budgets come to, before anything is opened"),
            ("emberlog replay --generate zipf:1M:0.9:5M:256 --restart kill", "what a kill -9 costs, on this machine"),
        ],
        notes: &["Lengths are written as 4096, 64KiB, 1.5GiB (1,024s) or 2GB (1,000s); counts as 5000, 10k, 5M."],
    },
    Guide {
        command: "inspect",
        exits: &[(0, "no damage"), (1, "there is damage; the page ends with a list of it"), NOT_RUN],
        examples: &[
            ("emberlog inspect /var/cache/shop", "the page for people"),
            ("emberlog inspect --json /var/cache/shop | jq .space.live_ratio", "one figure, for a script"),
        ],
        notes: &[
            ONLY_READS,
            "The payloads of sealed segments are taken as sound: verify checks them too. It takes about 40 bytes \
             of memory for each live key.",
            JSON_STAYS,
        ],
    },
    Guide {
        command: "verify",
        exits: &[(0, "sound"), (1, "there is damage; each is listed with what recovery makes of it"), NOT_RUN],
        examples: &[
            ("emberlog verify /var/cache/shop", "read everything, check everything"),
            ("emberlog verify --json /mnt/backup/shop | jq .damage", "the damage of a copy, for a script"),
        ],
        notes: &[ONLY_READS, JSON_STAYS],
    },
    Guide {
        command: "dump",
        exits: &[
            (0, "every live entry was written"),
            (1, "some are damaged or lost: all others were written, and stderr says how many are missing"),
            NOT_RUN,
        ],
        examples: &[
            ("emberlog dump /var/cache/shop > shop.jsonl", "an object a line"),
            ("emberlog dump --keys --prefix user: --format csv /var/cache/shop", "the keys that begin with user:"),
            ("emberlog dump --salvage /mnt/broken/shop > rest.jsonl", "every intact record of a damaged store"),
        ],
        notes: &[
            ONLY_READS,
            "Entries go to stdout in the order of the log, counts and hints to stderr. Bytes that are no \
             printable text are written as hex: and two digits a byte. The formats are documented in \
             tools/README.md and stay as they are.",
        ],
    },
    Guide {
        command: "explain",
        exits: &[(0, "the settings work"), (2, "they do not, and all that is wrong was said; or wrong usage")],
        examples: &[
            ("emberlog explain --memory 256MiB --disk 20GiB --entry 1KiB", "how budgets are divided, and what fits"),
            ("emberlog explain --config cache.toml --env SHOP_", "what a service would open with"),
            ("emberlog explain --memory 64MiB --set durability=synced --toml > cache.toml", "settings as a file"),
        ],
        notes: &[
            "Opens nothing. A file goes first, then the environment, then --set, then --memory, --disk and \
             --entry. The number of shards, where it is not set, follows the cores of this machine.",
            JSON_STAYS,
        ],
    },
    Guide {
        command: "replay",
        exits: &[
            (0, "every promise was kept"),
            (1, "a value was wrong, stale or resurrected, a budget exceeded, or an entry lost by an orderly close"),
            (2, "could not run, wrong usage, or interrupted"),
        ],
        examples: &[
            (
                "emberlog replay --generate zipf:1M:0.9:5M:256 --restart kill",
                "a kill in the middle of made-up requests",
            ),
            ("emberlog replay requests.csv.gz --memory 256MiB --disk 10GiB", "requests of your own: key,size a line"),
            ("redis-cli monitor | head -n 1000000 | emberlog replay - --format monitor", "what a Redis is asked for"),
            ("emberlog replay a.trace.zst b.trace.zst --restart close --json", "two traces, one JSON object"),
            (
                "emberlog replay big.csv --limit 1M --dir /mnt/nvme/try",
                "on a disk of your choice; the cache stays there",
            ),
        ],
        notes: &[
            "A get that misses inserts. Every value that comes back is compared byte for byte with what was \
             inserted.",
            "CSV has key,size a line, or a header line that names the columns: key (or id, obj_id, object_id), \
             size (or value_size, obj_size, bytes) and op (or operation: get, set, del and their like); others \
             are left out. Keys may be quoted, as RFC 4180 has it. A size may be left out: then it is that of the \
             same key elsewhere in the trace, else 128 bytes.",
            "Of Redis MONITOR, GET, GETEX, GETRANGE, MGET, HGET and HMGET read; SET, SETNX, SETEX, PSETEX, \
             GETSET, MSET, MSETNX, HSET, HMSET and HSETNX insert a value as long as theirs; DEL, UNLINK, HDEL, \
             GETDEL, and EXPIRE or PEXPIRE without time left remove. Each field of a hash is an entry. Times to \
             live are left out. Other commands are counted and reported.",
            "A trace that says which requests write is replayed as it stands; else --overwrite and --remove pick \
             some. Keys of text become 64-bit numbers: a number stands for itself, others are hashed. The trace \
             is held in memory, about 30 bytes a request.",
            JSON_STAYS,
        ],
    },
    Guide {
        command: "torture",
        exits: &[(0, "every promise was kept"), (1, "a promise was broken: each is listed"), WRONG_USAGE],
        examples: &[
            ("emberlog torture --mode all", "the quick form of everything: minutes"),
            ("emberlog torture --mode power --seed 7 --runs 1M", "a million lives that end in power cuts"),
            ("emberlog torture --mode power --seed 7 --case 31337", "one of them again"),
            ("emberlog torture --mode bitflip --form long --json", "every bit of a store, for a script"),
        ],
        notes: &[
            "A case follows from seed, mode, form and its number alone. All modes but those with real processes work on \
             simulated disks, in memory.",
            JSON_STAYS,
        ],
    },
    Guide {
        command: "completions",
        exits: &[(0, "the script was written"), WRONG_USAGE],
        examples: &[
            ("emberlog completions bash > ~/.local/share/bash-completion/completions/emberlog", "bash"),
            ("emberlog completions zsh > ~/.zfunc/_emberlog", "zsh, with ~/.zfunc in fpath before compinit"),
            ("emberlog completions fish > ~/.config/fish/completions/emberlog.fish", "fish"),
        ],
        notes: &[],
    },
    Guide {
        command: "man",
        exits: &[(0, "the pages were written"), WRONG_USAGE],
        examples: &[
            ("emberlog man replay | man -l -", "read one page"),
            ("emberlog man --out ~/.local/share/man/man1", "install all; then man emberlog-replay works"),
        ],
        notes: &[],
    },
];

/// What is said of a command by its name, or of the program.
pub(crate) fn of(command: &str) -> Option<&'static Guide> {
    GUIDES.iter().find(|guide| guide.command == command)
}

/// Adds what is said of it to a command's and its subcommands' `--help`; `-h` stays short.
pub(crate) fn equip(command: Command) -> Command {
    let command = command.mut_subcommands(equip);
    match of(command.get_name()) {
        Some(guide) => {
            let short = format!("More, with examples: {} --help", full_name(guide.command));
            command.after_help(short).after_long_help(guide.to_string())
        }
        None => command,
    }
}

/// The command as it is typed.
pub(crate) fn full_name(command: &str) -> String {
    if command == "emberlog" { command.to_owned() } else { format!("emberlog {command}") }
}

impl std::fmt::Display for Guide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for note in self.notes {
            writeln!(f, "{note}\n")?;
        }
        writeln!(f, "Exit codes:")?;
        for (code, meaning) in self.exits {
            writeln!(f, "  {code}  {meaning}")?;
        }
        write!(f, "\nExamples:")?;
        for (line, purpose) in self.examples {
            write!(f, "\n  {line}\n      {purpose}")?;
        }
        Ok(())
    }
}
