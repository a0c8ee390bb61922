//! The origin: an SQLite file of orders, and one connection that answers one question after the other.
//!
//! Nothing here is slowed down. A report adds up a whole shop's year, for which no index helps; that is what takes its milliseconds.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use rusqlite::{Connection, OpenFlags, Statement, params};

use crate::failure::Failure;
use crate::orders::{self, Day, ReportId, Shops};

const TABLE: &str = "CREATE TABLE orders (shop INTEGER, number INTEGER, day INTEGER, product INTEGER, cents INTEGER,
    PRIMARY KEY (shop, number)) WITHOUT ROWID";

const REPORT: &str = "SELECT day,
        count(*) FILTER (WHERE product = ?2),
        coalesce(sum(cents) FILTER (WHERE product = ?2), 0),
        sum(cents)
    FROM orders WHERE shop = ?1 GROUP BY day ORDER BY day";

/// Makes the file, if it is not there with just these orders. Tells after each shop how many are done.
pub(crate) fn fill(path: &Path, shops: Shops, mut done: impl FnMut(u32)) -> Result<(), Failure> {
    let fail = |error| Failure::new(format_args!("cannot fill {}", path.display()), error);
    let mark = i64::from(shops.count) << 32 | i64::from(shops.order_count);
    if path.exists() {
        let found: i64 = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .and_then(|connection| connection.query_row("SELECT mark FROM filled", (), |row| row.get(0)))
            .map_err(fail)?;
        let why = "it has other data; take another directory, or the options that it was made with";
        return if found == mark { Ok(()) } else { Err(Failure::new(path.display(), why)) };
    }
    // Under another name until it is complete: who is interrupted begins again.
    let unfinished = path.with_extension("unfinished");
    let _ = fs::remove_file(&unfinished);
    let mut connection = Connection::open(&unfinished).map_err(fail)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(fail)?;
    let transaction = connection.transaction().map_err(fail)?;
    transaction.execute_batch(TABLE).map_err(fail)?;
    {
        let mut insert = transaction.prepare("INSERT INTO orders VALUES (?, ?, ?, ?, ?)").map_err(fail)?;
        for shop in 0..shops.count {
            for number in 0..shops.order_count {
                let order = shops.order(shop, number);
                insert.execute(params![shop, number, order.day, order.product, order.cents]).map_err(fail)?;
            }
            done(shop + 1);
        }
    }
    transaction
        .execute_batch(&format!("CREATE TABLE filled (mark INTEGER); INSERT INTO filled VALUES ({mark})"))
        .map_err(fail)?;
    transaction.commit().map_err(fail)?;
    connection.close().map_err(|(_, error)| fail(error))?;
    fs::rename(&unfinished, path).map_err(|error| Failure::new("cannot name the finished file", error))
}

/// A question, and where the answer goes.
type Question = (ReportId, mpsc::SyncSender<Result<String, rusqlite::Error>>);

/// The connection, in a thread of its own: whoever asks first is answered first.
#[derive(Debug)]
pub(crate) struct Origin {
    questions: mpsc::Sender<Question>,
    query_count: AtomicU64,
}

impl Origin {
    /// Opens the file, only to read.
    pub(crate) fn open(path: &Path) -> Result<Origin, Failure> {
        let fail = |error| Failure::new(format_args!("cannot open {}", path.display()), error);
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(fail)?;
        // Now, so that a file without orders is an error here.
        drop(connection.prepare(REPORT).map_err(fail)?);
        let (questions, asked) = mpsc::channel::<Question>();
        // It ends when the last who could ask is gone.
        std::thread::Builder::new()
            .name("origin".to_owned())
            .spawn(move || {
                let Ok(mut statement) = connection.prepare(REPORT) else { return };
                for (report, answer) in asked {
                    // Who asked may have gone.
                    let _ = answer.send(query(&mut statement, report));
                }
            })
            .map_err(|error| Failure::new("cannot start the origin's thread", error))?;
        Ok(Origin { questions, query_count: AtomicU64::new(0) })
    }

    /// Asks for a report and waits for it, behind all who asked before.
    pub(crate) fn report(&self, report: ReportId) -> Result<String, rusqlite::Error> {
        let (answer, answered) = mpsc::sync_channel(1);
        // If the thread is gone, which takes a panic in it, there is no answer either.
        let _ = self.questions.send((report, answer));
        let body = answered.recv().unwrap_or(Err(rusqlite::Error::QueryReturnedNoRows));
        self.query_count.fetch_add(1, Ordering::Relaxed);
        body
    }

    /// Questions that were answered.
    pub(crate) fn query_count(&self) -> u64 {
        self.query_count.load(Ordering::Relaxed)
    }
}

fn query(statement: &mut Statement<'_>, report: ReportId) -> Result<String, rusqlite::Error> {
    let days = statement.query_map(params![report.shop, report.product], |row| {
        Ok(Day {
            day: row.get(0)?,
            order_count: row.get(1)?,
            cents: row.get::<_, i64>(2)?.unsigned_abs(),
            shop_cents: row.get::<_, i64>(3)?.unsigned_abs(),
        })
    })?;
    Ok(orders::body(report, &days.collect::<Result<Vec<Day>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOPS: Shops = Shops { count: 2, order_count: 3000 };

    #[test]
    fn sqlite_answers_what_adding_up_by_hand_gives() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.db");
        let mut told = Vec::new();
        fill(&path, SHOPS, |done| told.push(done)).unwrap();
        assert_eq!(told, [1, 2]);
        let origin = Origin::open(&path).unwrap();
        for rank in 0..SHOPS.report_count() {
            let report = SHOPS.report(rank);
            let expected = &SHOPS.expected(report.shop)[report.product as usize];
            assert_eq!(&origin.report(report).unwrap(), expected, "{report:?}");
        }
        assert_eq!(origin.query_count(), u64::from(SHOPS.report_count()));
    }

    #[test]
    fn a_file_that_is_there_is_taken_as_it_is_or_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.db");
        fill(&path, SHOPS, |_| ()).unwrap();
        fill(&path, SHOPS, |_| panic!("it is filled already")).unwrap();
        let other = Shops { count: 3, ..SHOPS };
        assert!(fill(&path, other, |_| ()).unwrap_err().to_string().contains("other data"));
        std::fs::write(&path, "not a database").unwrap();
        assert!(fill(&path, SHOPS, |_| ()).is_err());
    }
}
