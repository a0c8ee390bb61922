//! The service: reports over HTTP, read through emberlog. This is the file to copy from.
//!
//! Knows: HTTP, the cache, the origin. Does not know: that somebody measures it, or that it will be killed.
//!
//! A hit is answered on the spot. A miss goes to a thread that may wait: there `try_get_with` asks the origin, once for all who want that report
//! meanwhile. Each answer says in a header where it came from. After SIGTERM the service stops listening, finishes what it has, and closes.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use emberlog::Cache;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::failure::Failure;
use crate::orders::{ReportId, Shops};
use crate::origin::Origin;
use crate::process;

/// The header that says where an answer came from: `hit`, `miss` (the origin was asked) or `shared` (waited for one who asked it).
pub(crate) const CACHE_HEADER: &str = "x-cache";

/// Threads in which requests may wait for the origin; more requests wait for one of these.
const WAITING_THREADS_MAX: usize = 64;

/// What the service is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    pub(crate) database: PathBuf,
    pub(crate) shops: Shops,
    pub(crate) memory_bytes: u64,
    pub(crate) disk_bytes: u64,
    /// Where the disk tier is; without, the cache is memory only.
    pub(crate) cache: Option<PathBuf>,
}

/// What it says when it listens: one line on its standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) address: SocketAddr,
    pub(crate) at_ns: u64,
    /// How long opening the cache took.
    pub(crate) open_ns: u64,
    /// Anonymous memory before the cache was opened.
    pub(crate) baseline_bytes: u64,
}

/// What `/stats` says.
#[derive(Debug, Serialize)]
struct Stats {
    origin_query_count: u64,
    cache: emberlog::Stats,
}

/// What every request needs.
#[derive(Debug)]
struct Service {
    cache: Cache,
    origin: Origin,
    shops: Shops,
}

/// Serves until SIGTERM, then closes the cache.
pub(crate) fn serve(settings: Settings) -> Result<(), Failure> {
    process::die_with_parent()?;
    process::allow_many_sockets();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(WAITING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime", error))?;
    runtime.block_on(listen(settings))
}

async fn listen(settings: Settings) -> Result<(), Failure> {
    let origin = Origin::open(&settings.database)?;
    let baseline_bytes = process::anonymous_bytes(std::process::id()).unwrap_or(0);

    let from_ns = clock::now_ns();
    let builder = Cache::builder().memory_bytes(settings.memory_bytes).disk_bytes(settings.disk_bytes);
    let cache = match &settings.cache {
        Some(directory) => builder.open(directory),
        None => builder.open_memory_only(),
    }
    .map_err(|error| Failure::new("cannot open the cache", error))?;
    let open_ns = clock::now_ns() - from_ns;

    let service = Arc::new(Service { cache: cache.clone(), origin, shops: settings.shops });
    let routes =
        Router::new().route("/report/{shop}/{product}", get(report)).route("/stats", get(stats)).with_state(service);
    let listener = TcpListener::bind(settings.address).await;
    let listener =
        listener.map_err(|error| Failure::new(format_args!("cannot listen on {}", settings.address), error))?;
    let address = listener.local_addr().map_err(|error| Failure::new("cannot tell the address", error))?;
    let mut stop = signal(SignalKind::terminate()).map_err(|error| Failure::new("cannot watch for SIGTERM", error))?;
    say(&Ready { address, at_ns: clock::now_ns(), open_ns, baseline_bytes })?;

    let stopped = async move {
        stop.recv().await;
    };
    axum::serve(listener, routes)
        .with_graceful_shutdown(stopped)
        .await
        .map_err(|error| Failure::new("cannot serve", error))?;
    cache.close().map_err(|error| Failure::new("cannot close the cache", error))
}

async fn report(State(service): State<Arc<Service>>, Path((shop, product)): Path<(u32, u32)>) -> Response {
    if !service.shops.contains(ReportId { shop, product }) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let key = format!("report/{shop}/{product}");
    // From memory, or from a file that the kernel has in its page cache: microseconds, so not worth another thread.
    if let Some(body) = service.cache.get(&key) {
        return answer("hit", body);
    }
    let loading = tokio::task::spawn_blocking(move || {
        let mut source = "shared";
        let body = service.cache.try_get_with(&key, || {
            source = "miss";
            service.origin.report(ReportId { shop, product })
        });
        body.map(|body| (source, body))
    });
    match loading.await {
        Ok(Ok((source, body))) => answer(source, body),
        Ok(Err(error)) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn answer(source: &'static str, body: bytes::Bytes) -> Response {
    ([(CACHE_HEADER, source), (CONTENT_TYPE.as_str(), "application/json")], body).into_response()
}

async fn stats(State(service): State<Arc<Service>>) -> Response {
    let stats = Stats { origin_query_count: service.origin.query_count(), cache: service.cache.stats() };
    match serde_json::to_string(&stats) {
        Ok(text) => ([(CONTENT_TYPE.as_str(), "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn say(ready: &Ready) -> Result<(), Failure> {
    let line = serde_json::to_string(ready).map_err(|error| Failure::new("cannot say what is ready", error))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| Failure::new("cannot say what is ready", error))
}
