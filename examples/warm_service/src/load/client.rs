//! HTTP over connections that are kept: asks for a report, looks at every byte of the answer.
//!
//! Nothing is tried twice: a request that fails is a failed request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use xxhash_rust::xxh3::xxh3_64;

use crate::load::sample::Outcome;
use crate::orders::{ReportId, Shops};
use crate::service::CACHE_HEADER;

type Connection = SendRequest<Empty<Bytes>>;

/// A client of one service, for one thread.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    /// Open connections without a request; the one that was used last comes first.
    idle: RefCell<Vec<Connection>>,
    /// Length and hash of what each report must be.
    expected: BTreeMap<ReportId, (usize, u64)>,
}

impl Client {
    /// A client that knows all answers.
    pub(crate) fn new(address: SocketAddr, shops: Shops) -> Rc<Client> {
        let mut expected = BTreeMap::new();
        for shop in 0..shops.count {
            for (product, body) in (0..).zip(shops.expected(shop)) {
                expected.insert(ReportId { shop, product }, (body.len(), xxh3_64(body.as_bytes())));
            }
        }
        Rc::new(Client { address, idle: RefCell::default(), expected })
    }

    /// Asks for a report and waits for the answer, at most so long.
    pub(crate) async fn ask(&self, report: ReportId, patience: Duration) -> Outcome {
        tokio::time::timeout(patience, self.exchange(report)).await.unwrap_or(Outcome::TimedOut)
    }

    async fn exchange(&self, report: ReportId) -> Outcome {
        let Some(mut connection) = self.connection().await else { return Outcome::Refused };
        let request = Request::get(format!("/report/{}/{}", report.shop, report.product))
            .header(header::HOST, "warm-service")
            .body(Empty::new())
            .expect("the parts are well formed");
        let Ok(answer) = connection.send_request(request).await else { return Outcome::Broken };
        let status = answer.status();
        let outcome = match answer.headers().get(CACHE_HEADER).map(header::HeaderValue::as_bytes) {
            Some(b"hit") => Outcome::Hit,
            Some(b"shared") => Outcome::Shared,
            _ => Outcome::Miss,
        };
        let Ok(body) = answer.into_body().collect().await else { return Outcome::Broken };
        self.idle.borrow_mut().push(connection);
        self.judge(report, status, &body.to_bytes(), outcome)
    }

    fn judge(&self, report: ReportId, status: StatusCode, body: &[u8], outcome: Outcome) -> Outcome {
        if status != StatusCode::OK {
            return Outcome::Unanswered;
        }
        let is_right = self.expected.get(&report) == Some(&(body.len(), xxh3_64(body)));
        if is_right { outcome } else { Outcome::Wrong }
    }

    /// A connection that was open a moment ago, or a new one. `None` if nobody listens.
    async fn connection(&self) -> Option<Connection> {
        loop {
            let Some(mut kept) = self.idle.borrow_mut().pop() else { break };
            if kept.ready().await.is_ok() {
                return Some(kept);
            }
        }
        let stream = TcpStream::connect(self.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (connection, work) = handshake(TokioIo::new(stream)).await.ok()?;
        // Ends with the connection; how a request fares, it learns itself.
        tokio::task::spawn_local(async move {
            let _ = work.await;
        });
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOPS: Shops = Shops { count: 1, order_count: 500 };

    #[test]
    fn any_other_byte_in_an_answer_is_found() {
        let client = Client::new(([127, 0, 0, 1], 1).into(), SHOPS);
        let report = ReportId { shop: 0, product: 3 };
        let body = SHOPS.expected(0).swap_remove(3).into_bytes();
        let judge = |body: &[u8]| client.judge(report, StatusCode::OK, body, Outcome::Hit);
        assert_eq!(judge(&body), Outcome::Hit);
        for at in (0..body.len()).step_by(97) {
            let mut other = body.clone();
            other[at] ^= 1;
            assert_eq!(judge(&other), Outcome::Wrong, "byte {at}");
        }
        assert_eq!(judge(&body[1..]), Outcome::Wrong);
        assert_eq!(client.judge(ReportId { shop: 0, product: 4 }, StatusCode::OK, &body, Outcome::Hit), Outcome::Wrong);
        assert_eq!(client.judge(report, StatusCode::BAD_GATEWAY, &body, Outcome::Hit), Outcome::Unanswered);
    }
}
