//! A collector of traces: takes what the host sends by OTLP over HTTP, and reads it by the wire format of protobuf alone,
//! so that nothing of the sender is trusted.

use crate::SOON;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A span as it came (`opentelemetry.proto.trace.v1.Span`).
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// 32 hex digits.
    pub trace: String,
    /// 16 hex digits.
    pub id: String,
    /// 16 hex digits; empty for none.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: u64,
    /// Unix nanoseconds.
    pub start: u64,
    /// Unix nanoseconds.
    pub end: u64,
    /// By key, numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// Names of its events.
    pub events: Vec<String>,
    /// Trace and span of what it is linked to.
    pub links: Vec<(String, String)>,
    /// 0 unset, 1 ok, 2 error.
    pub status: u64,
    /// Attributes of the resource it came from.
    pub resource: BTreeMap<String, String>,
    /// The header `x-collector-key` that it came with.
    pub key: Option<String>,
}

/// A collector.
#[derive(Debug)]
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    came: mpsc::UnboundedReceiver<Span>,
    /// All that came so far.
    pub spans: Vec<Span>,
}

impl Collector {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let (tell, came) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/traces", post(take)).with_state(tell);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, came, spans: Vec::new() }
    }

    /// The URL for its hosts.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    /// Waits for a span that is as it should be.
    pub async fn span(&mut self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        loop {
            if let Some(span) = self.spans.iter().find(|span| wanted(span)) {
                return span.clone();
            }
            let came = timeout(SOON, self.came.recv()).await;
            let came = came.unwrap_or_else(|_| panic!("no span {what} among {:#?}", self.spans));
            self.spans.push(came.expect("the collector runs"));
        }
    }

    /// The children of a span that have come, in the order of their beginnings.
    #[must_use]
    pub fn children(&self, of: &Span) -> Vec<&Span> {
        let mut children: Vec<_> =
            self.spans.iter().filter(|span| span.trace == of.trace && span.parent == of.id).collect();
        children.sort_by_key(|span| (span.start, span.end));
        children
    }
}

async fn take(State(tell): State<mpsc::UnboundedSender<Span>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let key = headers.get("x-collector-key").map(|key| key.to_str().unwrap().to_owned());
    // ExportTraceServiceRequest { resource_spans = 1 }, ResourceSpans { resource = 1, scope_spans = 2 },
    // ScopeSpans { spans = 2 }
    for resource_spans in all(&body, 1) {
        let resource = all(resource_spans, 1).first().map(|resource| attributes(resource, 1)).unwrap_or_default();
        for span in all(resource_spans, 2).into_iter().flat_map(|scope| all(scope, 2)) {
            let span = Span { resource: resource.clone(), key: key.clone(), ..read(span) };
            // The test may be over.
            let _ = tell.send(span);
        }
    }
    StatusCode::OK
}

fn read(span: &[u8]) -> Span {
    let bytes = |of: &[u8], field| all(of, field).first().map(|bytes| hex(bytes)).unwrap_or_default();
    let text = |of: &[u8], field| all(of, field).first().map(|text| String::from_utf8(text.to_vec()).unwrap());
    Span {
        trace: bytes(span, 1),
        id: bytes(span, 2),
        parent: bytes(span, 4),
        name: text(span, 5).unwrap_or_default(),
        kind: number(span, 6),
        start: number(span, 7),
        end: number(span, 8),
        attributes: attributes(span, 9),
        events: all(span, 11).into_iter().filter_map(|event| text(event, 2)).collect(),
        links: all(span, 13).into_iter().map(|link| (bytes(link, 1), bytes(link, 2))).collect(),
        status: all(span, 15).first().map(|status| number(status, 3)).unwrap_or_default(),
        ..Span::default()
    }
}

/// `repeated KeyValue`, whose values are texts or numbers.
fn attributes(of: &[u8], field: u64) -> BTreeMap<String, String> {
    let one = |pair: &[u8]| {
        let key = String::from_utf8(all(pair, 1)[0].to_vec()).unwrap();
        let value = all(pair, 2)[0];
        let text = all(value, 1).first().map(|text| String::from_utf8(text.to_vec()).unwrap());
        (key, text.unwrap_or_else(|| number(value, 3).to_string()))
    };
    all(of, field).into_iter().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// ---- protobuf

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)),
            1 => Value::Number(u64::from_le_bytes(cut(&mut message, 8).try_into().unwrap())),
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                Value::Bytes(cut(&mut message, length))
            }
            5 => Value::Number(u32::from_le_bytes(cut(&mut message, 4).try_into().unwrap()).into()),
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, value));
    }
    found
}

fn cut<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = cut(message, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a number without end");
}

fn all(message: &[u8], field: u64) -> Vec<&[u8]> {
    let of = |(number, value)| match value {
        Value::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(of).collect()
}

fn number(message: &[u8], field: u64) -> u64 {
    let of = |(number, value)| match value {
        Value::Number(value) if number == field => Some(value),
        _ => None,
    };
    fields(message).into_iter().find_map(of).unwrap_or_default()
}
