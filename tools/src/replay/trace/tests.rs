//! The text traces through the reader that all share: what is read, what is refused, and what no bytes at all can do.
//!
//! Randomized tests have fixed seeds; a failure names the case.

use super::*;
use crate::replay::value::{GOLDEN, mix};

fn reading(limit: usize, bad_lines_max: u64) -> Reading {
    Reading { format: None, limit, bad_lines_max }
}

fn read_with(text: &[u8], format: Format, reading: &Reading) -> Result<Trace, String> {
    let mut source = text;
    parse(&mut source, format, reading, &mut |_| {})
}

fn read_all(text: &[u8], format: Format) -> Result<Trace, String> {
    read_with(text, format, &reading(usize::MAX, 0))
}

fn requests(text: impl AsRef<[u8]>, format: Format) -> Vec<(u64, u32, Deed)> {
    let trace = read_all(text.as_ref(), format).unwrap();
    trace.accesses.iter().map(|access| (access.key, access.size_bytes, access.deed)).collect()
}

fn csv(text: &str) -> Vec<(u64, u32, Deed)> {
    requests(text, Format::Csv)
}

/// The requests of MONITOR lines, of which only the commands are given.
fn monitor(commands: &str) -> Vec<(u64, u32, Deed)> {
    let lines: Vec<String> =
        commands.lines().map(|command| format!("1339518083.107412 [0 127.0.0.1:60866] {command}\n")).collect();
    requests(lines.concat(), Format::Monitor)
}

const UNSAID: u32 = SIZE_UNSAID;
use Deed::{Insert, Read, Remove, Unsaid};

#[test]
fn csv_is_read_with_and_without_a_header_and_whatever_ends_its_lines() {
    let expected = vec![(1, 10, Unsaid), (key::of(b"user:7"), UNSAID, Unsaid), (3, 0, Unsaid)];
    for text in [
        "1,10\nuser:7\n3,0\n",
        "1,10\r\nuser:7\r\n\r\n3,0",
        "key,size\n1,10\nuser:7,\n3, 0 \n",
        "\u{feff}KEY,Size\r\n\"1\",\"10\"\r\n\"user:7\",\"\"\r\n3,0\r\n",
        "time,value_size,client,obj_id\n1.5,10,a,1\n1.6,,b,user:7\n1.7,0,c,3\n",
    ] {
        assert_eq!(csv(text), expected, "{text:?}");
    }
}

#[test]
fn quoted_csv_keys_hold_commas_quotes_and_line_ends() {
    let keys = csv("key,size\n\"a,b\",1\n\"say \"\"hi\"\"\",2\n\"two\nlines\",3\n\"\"\"\",4\n\" x\",5\n");
    let expected: [&[u8]; 5] = [b"a,b", b"say \"hi\"", b"two\nlines", b"\"", b" x"];
    assert_eq!(keys.iter().map(|request| request.0).collect::<Vec<_>>(), expected.map(key::of));
    let text = "\"a\nb\nc\",1\nx,y\n";
    let error = read_all(text.as_bytes(), Format::Csv).unwrap_err();
    assert!(error.starts_with("line 4: "), "lines are counted inside quotes too: {error}");
}

#[test]
fn a_csv_column_of_operations_decides_what_requests_do() {
    let text = "op,key,size\nget,1,\nSET,1,20\n,2,5\nincr,1,8\ndelete,1,\n";
    assert_eq!(csv(text), [(1, UNSAID, Read), (1, 20, Insert), (2, 5, Read), (1, UNSAID, Remove)]);
    let trace = read_all(text.as_bytes(), Format::Csv).unwrap();
    assert!(trace.names_deeds && !read_all(b"1,2\n", Format::Csv).unwrap().names_deeds);
    assert_eq!(trace.origin.skipped, BTreeMap::from([("incr".to_owned(), 1)]));
    assert_eq!(trace.origin.lines, 6);
}

#[test]
fn csv_that_means_nothing_is_refused_with_its_line() {
    for (text, words) in [
        ("1,10\n2,ten\n", "line 2: the size is not a number of bytes: 2,ten"),
        ("1,-1\n", "not a number"),
        ("1,4294967295\n", "4 GiB"),
        ("1,99999999999999999999\n", "4 GiB"),
        ("1,2,3\n", "line 1: 3 fields; without a header line that names a column 'key'"),
        ("time,oid,len\n1,2,3\n", "line 1: 3 fields"),
        ("key,size\n1\n", "line 2: 1 fields where the header has 2"),
        ("key,size,id\n1,2,3\n", "line 1: two columns are the key"),
        (",5\n", "the key is empty"),
        ("a\"b,5\n", "a quote inside a field"),
        ("\"a\"b,5\n", "behind a closing quote"),
        ("1,2\n\"abc,5\n", "line 2: a quote that is not closed: \"abc,5"),
    ] {
        let error = read_all(text.as_bytes(), Format::Csv).unwrap_err();
        assert!(error.contains(words), "{text:?}: {error}");
    }
    let long = format!("{},1\n", "k".repeat(70_000));
    let error = read_all(long.as_bytes(), Format::Csv).unwrap_err();
    assert!(error.contains("a key of 70000 bytes") && error.len() < 250, "{error}");
}

#[test]
fn monitor_lines_become_reads_inserts_and_removes() {
    let (a, b) = (key::of(b"a"), key::of(b"b"));
    assert_eq!(monitor("\"GET\" \"a\"\n\"getex\" \"b\" \"EX\" \"10\""), [(a, UNSAID, Read), (b, UNSAID, Read)]);
    assert_eq!(monitor("\"mget\" \"a\" \"b\""), [(a, UNSAID, Read), (b, UNSAID, Read)]);
    for set in [
        "\"set\" \"a\" \"12345\"",
        "\"SET\" \"a\" \"12345\" \"EX\" \"60\" \"NX\"",
        "\"setnx\" \"a\" \"12345\"",
        "\"setex\" \"a\" \"60\" \"12345\"",
        "\"psetex\" \"a\" \"60\" \"12345\"",
        "\"getset\" \"a\" \"12345\"",
    ] {
        assert_eq!(monitor(set), [(a, 5, Insert)], "{set}");
    }
    assert_eq!(monitor("\"mset\" \"a\" \"1\" \"b\" \"22\""), [(a, 1, Insert), (b, 2, Insert)]);
    assert_eq!(monitor("\"del\" \"a\" \"b\"\n\"unlink\" \"a\"").len(), 3);
    assert_eq!(monitor("\"del\" \"a\""), [(a, UNSAID, Remove)]);
    assert_eq!(
        monitor("\"expire\" \"a\" \"0\"\n\"pexpire\" \"a\" \"-5\"\n\"expire\" \"a\" \"9\""),
        [(a, UNSAID, Remove); 2]
    );
    assert_eq!(monitor("\"getdel\" \"a\""), [(a, UNSAID, Read), (a, UNSAID, Remove)]);
    let hash = monitor(
        "\"hset\" \"a\" \"f\" \"123\" \"g\" \"4\"\n\"hget\" \"a\" \"f\"\n\"hmget\" \"b\" \"f\" \"g\"\n\"hdel\" \"a\" \"g\"",
    );
    assert_eq!(hash.iter().map(|request| request.2).collect::<Vec<_>>(), [Insert, Insert, Read, Read, Read, Remove]);
    assert_eq!((hash[0].1, hash[1].1), (3, 1));
    assert!(hash[0].0 == hash[2].0 && hash[1].0 == hash[5].0, "a field is the same entry whatever is done to it");
    assert!(hash[2].0 != hash[3].0 && hash[2].0 != a, "and another in another hash");
}

#[test]
fn monitor_escapes_stand_for_one_byte_each() {
    let escaped = monitor(r#""set" "q\"\\\n\r\t\a\b\x00\xfF" "\x00\"\\1""#);
    assert_eq!(escaped, [(key::of(b"q\"\\\n\r\t\x07\x08\x00\xff"), 4, Insert)]);
}

#[test]
fn monitor_takes_every_client_and_keeps_databases_apart() {
    let text = "OK\n1.5 [0 unix:/tmp/a b.sock] \"get\" \"k\"\n1.5 [0 [::1]:60866] \"get\" \"k\"\r\n\n1.5 [0 lua] \"get\" \"k\"\n\
                1.5 [3 127.0.0.1:1] \"get\" \"k\"\n2 [0 ] \"ping\"\n3.0 [0 x:1] \"Config\" \"get\" \"maxmemory\"";
    let trace = read_all(text.as_bytes(), Format::Monitor).unwrap();
    let keys: Vec<u64> = trace.accesses.iter().map(|access| access.key).collect();
    let k = key::of(b"k");
    assert_eq!(keys, [k, k, k, key::within(3, b"k")]);
    assert_eq!(trace.origin.skipped, BTreeMap::from([("config".to_owned(), 1), ("ping".to_owned(), 1)]));
    assert_eq!(trace.origin.lines, 8);
}

#[test]
fn monitor_lines_that_mean_nothing_are_refused_with_their_line() {
    let good = "1.5 [0 a:1] \"get\" \"k\"\n";
    for (line, words) in [
        ("hello\n", "line 2: no command: hello"),
        ("1.5 [0 a:1]\n", "no command"),
        ("x [0 a:1] \"get\" \"k\"\n", "not as in"),
        ("1.5 [zero a:1] \"get\" \"k\"\n", "not as in"),
        ("1.5 [0 a:1] \"get\"\n", "0 arguments"),
        ("1.5 [0 a:1] \"mset\" \"a\" \"1\" \"b\"\n", "3 arguments"),
        ("1.5 [0 a:1] \"setex\" \"a\" \"1\"\n", "2 arguments"),
        ("1.5 [0 a:1] \"get\" \"k", "ends inside an argument"),
        ("1.5 [0 a:1] \"get\" \"k\nk\"\n", "ends inside an argument"),
        ("1.5 [0 a:1] \"get\" \"k\\", "ends inside an argument"),
        ("1.5 [0 a:1] \"get\" \"\\x1g\"\n", "hexadecimal"),
        ("1.5 [0 a:1] \"get\" \"\\q\"\n", "escape \\q"),
        ("1.5 [0 a:1] \"get\" k\n", "between arguments"),
        ("1.5 [0 a:1] \"expire\" \"k\" \"soon\"\n", "not a number"),
    ] {
        let error = read_all(format!("{good}{line}").as_bytes(), Format::Monitor).unwrap_err();
        assert!(error.starts_with("line 2: ") && error.contains(words), "{line:?}: {error}");
    }
}

#[test]
fn bad_lines_pass_up_to_the_tolerance_and_leave_no_request_behind() {
    let bad = "1.5 [0 a:1] \"mset\" \"a\" \"1\" \"b\"\n";
    let text = ["1.5 [0 a:1] \"get\" \"1\"\n", bad, "1.5 [0 a:1] \"get\" \"2\"\n", bad, "1.5 [0 a:1] \"get\" \"3\"\n"]
        .concat();
    let trace = read_with(text.as_bytes(), Format::Monitor, &reading(usize::MAX, 2)).unwrap();
    assert_eq!(trace.accesses.iter().map(|access| access.key).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((trace.origin.bad_lines, trace.origin.lines), (2, 5));
    assert!(trace.origin.first_bad.unwrap().starts_with("line 2: "));
    let error = read_with(text.as_bytes(), Format::Monitor, &reading(usize::MAX, 1)).unwrap_err();
    assert!(error.starts_with("line 4: ") && error.contains("beyond the 1"), "{error}");
    let error = read_with(text.as_bytes(), Format::Monitor, &reading(usize::MAX, 0)).unwrap_err();
    assert!(error.contains("--skip-bad"), "{error}");
    let trace = read_with(b"1,1\n2,x\n3,3\n\"4,4\n", Format::Csv, &reading(usize::MAX, 2)).unwrap();
    assert_eq!(trace.accesses.len(), 2);
    let two = read_with(b"1\n2\n3\nx,y\n", Format::Csv, &reading(2, 0)).unwrap();
    assert_eq!(two.accesses.len(), 2, "behind the limit nothing is read");
}

#[test]
fn names_of_skipped_commands_are_told_apart_up_to_a_bound() {
    let lines: Vec<String> = (0..1_000).map(|n| format!("1 [0 a:1] \"c{n}{}\"\n", "x".repeat(100))).collect();
    let trace = read_all(lines.concat().as_bytes(), Format::Monitor).unwrap();
    assert_eq!(trace.origin.skipped.values().sum::<u64>(), 1_000);
    assert!(trace.origin.skipped.len() <= 33 && trace.origin.skipped.keys().all(|name| name.len() <= 32));
}

#[test]
fn the_format_is_told_by_the_name_without_what_packs_it() {
    for (name, format) in [
        ("a.csv", Some(Format::Csv)),
        ("a.CSV.GZ", Some(Format::Csv)),
        ("dir.csv/a.monitor.zst", Some(Format::Monitor)),
        ("a.redis", Some(Format::Monitor)),
        ("a.trace.zst", Some(Format::Records)),
        ("a.zst", Some(Format::Records)),
        ("cluster.017.zst", Some(Format::Records)),
        ("a.txt", None),
        ("a.txt.gz", None),
        ("a", None),
        ("-", None),
    ] {
        assert_eq!(format_of(Path::new(name)), format, "{name}");
    }
}

/// Some lines, and then the file cannot be read on.
struct Torn(&'static [u8]);

impl std::io::Read for Torn {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        match std::mem::take(&mut self.0) {
            [] => Err(std::io::Error::other("the medium is gone")),
            bytes => {
                target[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }
}

#[test]
fn a_source_that_fails_is_an_error_with_its_line_whatever_is_tolerated() {
    for (text, line) in [(&b"1,2\n3,"[..], 2), (b"1,2\n3,4\n", 3), (b"1,\"2", 1)] {
        let mut source = std::io::BufReader::new(Torn(text));
        let error = parse(&mut source, Format::Csv, &reading(usize::MAX, u64::MAX), &mut |_| {}).unwrap_err();
        assert_eq!(error, format!("line {line}: the medium is gone"));
    }
}

/// A stream of numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(GOLDEN);
        (mix(self.0) % bound as u64) as usize
    }

    /// Bytes that parsers stumble over, and some others.
    fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        const HARD: &[u8] = b"\"\"\"\\\\\n\r,,[] 0a9x.\0\xff\xef\xbb\xbf-";
        let len = self.below(len_max + 1);
        (0..len)
            .map(|_| if self.below(8) == 0 { self.below(256) as u8 } else { HARD[self.below(HARD.len())] })
            .collect()
    }
}

fn quoted_csv(bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![b'"'];
    bytes.iter().for_each(|byte| field.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 })));
    field.push(b'"');
    field
}

fn quoted_monitor(bytes: &[u8]) -> String {
    let escaped: String = bytes
        .iter()
        .map(|byte| match byte {
            b'"' => "\\\"".into(),
            b'\\' => "\\\\".into(),
            b'\n' => "\\n".into(),
            b'\r' => "\\r".into(),
            b' '..=b'~' => char::from(*byte).to_string(),
            other => format!("\\x{other:02x}"),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[test]
fn what_is_written_as_csv_is_read_as_the_same_requests() {
    for case in 0..300u64 {
        let mut random = Random(case);
        let has_deeds = random.below(2) == 0;
        let mut text: Vec<u8> = if has_deeds { b"op,key,size\n".to_vec() } else { b"key,size\n".to_vec() };
        let mut expected = Vec::new();
        for _ in 0..random.below(50) {
            let (number, is_number) = (mix(random.0) >> random.below(64), random.below(2) == 0);
            let bytes =
                if is_number { number.to_string().into_bytes() } else { [b"k".to_vec(), random.bytes(40)].concat() };
            let size_bytes = if random.below(4) == 0 { UNSAID } else { random.below(1 << 20) as u32 };
            let size = if size_bytes == UNSAID { String::new() } else { size_bytes.to_string() };
            let (op, deed) = [("get", Read), ("set", Insert), ("del", Remove)][random.below(3)];
            if has_deeds {
                text.extend_from_slice(op.as_bytes());
                text.push(b',');
            }
            text.extend_from_slice(&quoted_csv(&bytes));
            text.extend_from_slice(format!(",{size}{}", ["\n", "\r\n"][random.below(2)]).as_bytes());
            expected.push((
                if is_number { number } else { key::of(&bytes) },
                size_bytes,
                if has_deeds { deed } else { Unsaid },
            ));
        }
        assert_eq!(requests(&text, Format::Csv), expected, "case {case}");
    }
}

#[test]
fn what_redis_would_print_is_read_as_the_same_requests() {
    for case in 0..300u64 {
        let mut random = Random(case);
        let (mut text, mut expected) = (String::new(), Vec::new());
        for _ in 0..random.below(50) {
            let bytes = [b"k".to_vec(), random.bytes(40)].concat();
            let value = random.bytes(100);
            let (quoted, key) = (quoted_monitor(&bytes), key::of(&bytes));
            text.push_str("1339518083.107412 [0 127.0.0.1:60866] ");
            match random.below(3) {
                0 => {
                    text.push_str(&format!("\"get\" {quoted}\n"));
                    expected.push((key, UNSAID, Read));
                }
                1 => {
                    text.push_str(&format!("\"SET\" {quoted} {} \"PX\" \"5\"\n", quoted_monitor(&value)));
                    expected.push((key, value.len() as u32, Insert));
                }
                _ => {
                    text.push_str(&format!("\"Del\" {quoted} {quoted}\n"));
                    expected.extend([(key, UNSAID, Remove); 2]);
                }
            }
        }
        assert_eq!(requests(&text, Format::Monitor), expected, "case {case}");
    }
}

#[test]
fn no_bytes_make_a_reader_panic_or_lose_count() {
    let seeds: [(&[u8], Format); 2] = [
        (b"key,size,op\n\"a,\"\"b\",10,get\n2,,set\n", Format::Csv),
        (b"OK\n1.5 [0 a:1] \"set\" \"k\\x00\" \"v\"\n1.5 [1 lua] \"hset\" \"k\" \"f\" \"v\"\n1 [0 a] \"expire\" \"k\" \"0\"\n", Format::Monitor),
    ];
    for case in 0..20_000u64 {
        let mut random = Random(case);
        let (seed, format) = seeds[random.below(2)];
        let mut text = seed.repeat(1 + random.below(3));
        for _ in 0..random.below(6) {
            let at = random.below(text.len());
            let until = (at + random.below(12)).min(text.len());
            let patch = random.bytes(12);
            text.splice(at..until, patch);
            if text.is_empty() {
                text.push(b'x');
            }
        }
        let line_count = text.iter().filter(|byte| **byte == b'\n').count() as u64 + u64::from(!text.ends_with(b"\n"));
        match read_with(&text, format, &reading(usize::MAX, u64::MAX)) {
            Ok(trace) => {
                assert_eq!(trace.origin.lines, line_count, "case {case}: {:?}", text.escape_ascii().to_string());
                assert!(trace.origin.bad_lines <= line_count, "case {case}");
                assert!(trace.accesses.len() <= text.len(), "case {case}");
            }
            Err(error) => assert!(error.contains("two columns"), "case {case}: {error}"),
        }
        if let Err(error) = read_with(&text, format, &reading(usize::MAX, 0)) {
            assert!(error.starts_with("line ") && error.len() < 400, "case {case}: {error}");
        }
    }
}

/// So many bytes, one piece again and again, out of nothing.
struct Endless {
    head: &'static [u8],
    piece: &'static [u8],
    left: usize,
}

impl std::io::Read for Endless {
    fn read(&mut self, target: &mut [u8]) -> std::io::Result<usize> {
        let piece = if self.head.is_empty() { self.piece } else { std::mem::take(&mut self.head) };
        let count = piece.len().min(target.len()).min(self.left);
        target[..count].copy_from_slice(&piece[..count]);
        self.left -= count;
        Ok(count)
    }
}

#[test]
fn memory_does_not_grow_with_lines_that_never_end() {
    const LEN_BYTES: usize = 24 << 20;
    const HEAD: &[u8] = b"1.5 [0 a:1] \"set\" \"k\" \"";
    for (head, piece, format) in [
        (&b"\""[..], &b"key,"[..], Format::Csv),
        (b"k", b"kkkkkkkk", Format::Csv),
        (b"k", b",,,,,,,,", Format::Csv),
        (b"", b"\"\"\"\"\"\"\"\"", Format::Csv),
        (b"x", b"[0] [0] ", Format::Monitor),
        (HEAD, b"vvvvvvvv", Format::Monitor),
        (b"1.5 [0 a:1] \"get\" \"", b"kkkkkkkk", Format::Monitor),
        (b"1.5 [0 a:1] \"set\" \"k\" \"v\"", b" \"option\"", Format::Monitor),
        (b"1.5 [0 a:1] \"", b"commands", Format::Monitor),
    ] {
        let mut outcome = None;
        let measured = allocation_counter::measure(|| {
            let mut source = std::io::BufReader::with_capacity(8 << 10, Endless { head, piece, left: LEN_BYTES });
            outcome = Some(parse(&mut source, format, &reading(usize::MAX, u64::MAX), &mut |_| {}));
        });
        let head = head.escape_ascii();
        assert!(measured.bytes_max < 4 << 20, "{format:?} {head}: {} bytes", measured.bytes_max);
        let trace = outcome.unwrap().unwrap();
        assert!(trace.accesses.len() <= 1 && trace.origin.lines == 1, "{format:?} {head}: {:?}", trace.origin);
    }
}
