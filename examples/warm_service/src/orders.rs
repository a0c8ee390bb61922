//! The data: orders of many shops, and the report over them, both as pure functions.
//!
//! The origin puts these orders into SQLite and aggregates them there; the load generator aggregates them by itself, from here, so that it
//! knows what every answer must be without asking anybody.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Days that a report covers.
pub(crate) const DAY_COUNT: u32 = 365;
/// Products of each shop.
pub(crate) const PRODUCT_COUNT: u32 = 110;

/// All the data there is: orders follow from their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shops {
    /// How many shops.
    pub(crate) count: u32,
    /// How many orders each has.
    pub(crate) order_count: u32,
}

/// One order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) day: u32,
    pub(crate) product: u32,
    pub(crate) cents: u32,
}

/// One report: a product of a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReportId {
    pub(crate) shop: u32,
    pub(crate) product: u32,
}

/// A line of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) day: u32,
    /// Orders of the product on this day, and what they brought.
    pub(crate) order_count: u32,
    pub(crate) cents: u64,
    /// What the whole shop took on this day.
    pub(crate) shop_cents: u64,
}

/// Scatters the bits of a number, the same way each time.
pub(crate) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Shops {
    /// How many different reports there are.
    pub(crate) fn report_count(self) -> u32 {
        self.count * PRODUCT_COUNT
    }

    /// The report that is asked for `rank`th most; neighbours in rank are of different shops.
    pub(crate) fn report(self, rank: u32) -> ReportId {
        ReportId { shop: rank % self.count, product: (rank / self.count) % PRODUCT_COUNT }
    }

    /// Whether there is such a report.
    pub(crate) fn contains(self, report: ReportId) -> bool {
        report.shop < self.count && report.product < PRODUCT_COUNT
    }

    /// An order of a shop. They are numbered through the year.
    pub(crate) fn order(self, shop: u32, number: u32) -> Order {
        let drawn = scatter(u64::from(shop) << 32 | u64::from(number));
        let day = u64::from(number) * u64::from(DAY_COUNT) / u64::from(self.order_count);
        Order {
            day: u32::try_from(day).expect("below the days of a year"),
            product: u32::try_from((drawn & 0xffff_ffff) % u64::from(PRODUCT_COUNT)).expect("below the count"),
            cents: u32::try_from(100 + (drawn >> 32) % 9_900).expect("below 10,000"),
        }
    }

    /// The bodies of all reports of a shop, by product, added up without a database.
    pub(crate) fn expected(self, shop: u32) -> Vec<String> {
        let mut days: Vec<Vec<Day>> = vec![Vec::new(); PRODUCT_COUNT as usize];
        for order in (0..self.order_count).map(|number| self.order(shop, number)) {
            if days[0].last().is_none_or(|last| last.day != order.day) {
                days.iter_mut().for_each(|days| days.push(Day { day: order.day, ..Day::default() }));
            }
            for (product, days) in (0..).zip(&mut days) {
                let day = days.last_mut().expect("pushed above");
                day.shop_cents += u64::from(order.cents);
                if product == order.product {
                    day.order_count += 1;
                    day.cents += u64::from(order.cents);
                }
            }
        }
        (0..).zip(&days).map(|(product, days)| body(ReportId { shop, product }, days)).collect()
    }
}

/// A report as it is served.
pub(crate) fn body(report: ReportId, days: &[Day]) -> String {
    let mut body = format!("{{\"shop\":{},\"product\":{},\"days\":[", report.shop, report.product);
    for (index, day) in days.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(body, "{comma}[{},{},{},{}]", day.day, day.order_count, day.cents, day.shop_cents)
            .expect("a string takes what is written");
    }
    body.push_str("]}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SHOPS: Shops = Shops { count: 3, order_count: 1000 };

    #[test]
    fn every_report_has_one_rank() {
        let reports: BTreeSet<ReportId> = (0..SHOPS.report_count()).map(|rank| SHOPS.report(rank)).collect();
        assert_eq!(reports.len(), SHOPS.report_count() as usize);
        assert!(reports.iter().all(|report| SHOPS.contains(*report)));
    }

    #[test]
    fn orders_run_through_the_year_and_differ_between_shops() {
        let days: Vec<u32> = (0..SHOPS.order_count).map(|number| SHOPS.order(1, number).day).collect();
        assert!(days.is_sorted() && days[0] == 0 && *days.last().unwrap() == DAY_COUNT - 1);
        assert_ne!(SHOPS.order(0, 7), SHOPS.order(1, 7));
    }

    #[test]
    fn bodies_are_lines_of_numbers() {
        let days = [Day { day: 0, order_count: 2, cents: 30, shop_cents: 400 }, Day { day: 1, ..Day::default() }];
        let text = body(ReportId { shop: 4, product: 5 }, &days);
        assert_eq!(text, r#"{"shop":4,"product":5,"days":[[0,2,30,400],[1,0,0,0]]}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
