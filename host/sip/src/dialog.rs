//! The dialog: what two user agents remember of each other (RFC 3261 §12).
//!
//! All header values that came from the peer are kept as bytes and go back as they came.

use crate::ua::flow::{Flow, hidden};
use crate::ua::{NextHop, put};
use crate::wire::{Field, HeaderError, Headers, Message, Method, NameAddr, StartLine, Uri};
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// How a new in-dialog request compares with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    InOrder,
    /// Its CSeq is lower: it was overtaken, and is refused with 500 (§12.2.2).
    Late,
}

/// One dialog.
#[derive(Clone, Debug)]
pub(crate) struct DialogState {
    pub(crate) call_id: Bytes,
    pub(crate) local_tag: String,
    /// `None` where an RFC 2543 peer sent none.
    pub(crate) remote_tag: Option<String>,
    /// Our side, as it stands in `From` of our requests, tag included.
    local: Bytes,
    /// The other side, as it stands in `To` of our requests, tag included.
    remote: Bytes,
    /// The peer's `Contact`: what our requests are aimed at. Changes with target refreshes.
    target: Uri,
    /// Frozen when the dialog is created (§12.2.1.1 lets nothing change it).
    routes: Vec<NameAddr>,
    /// One counter for every sender of requests in this dialog.
    local_cseq: u32,
    remote_cseq: Option<u32>,
    /// The way the dialog was made.
    flow: Flow,
    /// The ways to the next hop where that is a name, once they are known, best first.
    resolved: Option<Vec<Flow>>,
}

impl DialogState {
    /// The server's view, made from an INVITE (§12.1.1). `flow` is the way back to its sender.
    pub(crate) fn from_invite(invite: &Message, local_tag: String, flow: Flow) -> Result<Self, HeaderError> {
        let from = invite.from()?;
        let local = invite.to()?.with_tag(&local_tag).to_bytes();
        Ok(Self {
            call_id: invite.call_id()?.clone(),
            remote_tag: from.tag(),
            local,
            local_tag,
            remote: from.to_bytes(),
            // RFC 2543 did not ask for a Contact; requests then go to where the call comes from (RFC 4475 §3.4.1).
            target: contact(invite).or_else(|error| match error {
                HeaderError::Missing(_) => Ok(from.uri.as_request_target()),
                HeaderError::Invalid(..) => Err(error),
            })?,
            routes: invite.addresses(Field::RecordRoute)?,
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()?.seq),
            flow,
            resolved: None,
        })
    }

    /// The client's view, made from a response to our INVITE (§12.1.2).
    pub(crate) fn from_response(
        request: &Message,
        local_tag: String,
        response: &Message,
        flow: Flow,
    ) -> Result<Self, HeaderError> {
        let to = response.to()?;
        let mut routes = response.addresses(Field::RecordRoute)?;
        routes.reverse();
        let target = match contact(response) {
            Ok(target) => target,
            // A 2xx must carry a Contact; where it does not, the request URI is the best guess.
            Err(error) => match &request.start {
                StartLine::Request { uri, .. } => uri.clone(),
                StartLine::Response { .. } => return Err(error),
            },
        };
        Ok(Self {
            call_id: request.call_id()?.clone(),
            local: request.from()?.to_bytes(),
            local_tag,
            remote_tag: to.tag(),
            remote: to.to_bytes(),
            target,
            routes,
            local_cseq: request.cseq()?.seq,
            remote_cseq: None,
            flow,
            resolved: None,
        })
    }

    /// Takes up the counters of the early dialog that became this one.
    pub(crate) fn goes_on_from(&mut self, early: &Self) {
        self.after(early.local_cseq);
        self.remote_cseq = early.remote_cseq;
    }

    /// Requests up to this number were sent already.
    pub(crate) fn after(&mut self, seq: u32) {
        self.local_cseq = self.local_cseq.max(seq);
    }

    /// The number of our last request.
    pub(crate) fn last_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Whether the dialog runs over a request with this `From` tag.
    pub(crate) fn is_with(&self, remote_tag: Option<&str>) -> bool {
        self.remote_tag.as_deref() == remote_tag
    }

    /// Takes note of the CSeq of a request of the peer's. An INVITE with the number of one before it is late, too.
    pub(crate) fn order(&mut self, seq: u32, method: &Method) -> Order {
        let late = self.remote_cseq.is_some_and(|last| seq < last || (seq == last && *method == Method::Invite));
        if late {
            return Order::Late;
        }
        self.remote_cseq = Some(seq);
        Order::InOrder
    }

    /// The peer moved: a re-INVITE, an UPDATE or the 2xx to ours named another Contact (§12.2).
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        let Ok(target) = contact(message) else { return };
        if target != self.target {
            self.target = target;
            if self.routes.is_empty() {
                self.resolved = None;
            }
        }
    }

    /// The address that its messages come from.
    pub(crate) fn peer(&self) -> IpAddr {
        self.flow.remote.ip()
    }

    /// A request of this dialog came by this path: the peer opened another connection, or its NAT gave it another
    /// port. What goes back to its source goes there from now on.
    pub(crate) fn seen_on(&mut self, flow: Flow) {
        if flow.transport == self.flow.transport {
            self.flow = flow;
        }
    }

    /// The peer's `Contact`.
    pub(crate) fn target(&self) -> &Uri {
        &self.target
    }

    pub(crate) fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq += 1;
        self.local_cseq
    }

    /// A request in this dialog, without `Via` (§12.2.1.1).
    pub(crate) fn request(&self, method: Method, seq: u32) -> Message {
        let mut headers = Headers::default();
        let mut routes: Vec<Bytes> = self.routes.iter().map(NameAddr::to_bytes).collect();
        let uri = match self.routes.first() {
            Some(first) if !first.uri.is_loose() => {
                // A strict router wants itself in the request line and the target at the end of the list.
                routes.remove(0);
                routes.push(NameAddr::new(None, self.target.clone()).to_bytes());
                first.uri.as_request_target()
            }
            _ => self.target.clone(),
        };
        // The transaction writes its own.
        put(&mut headers, Field::Via, Bytes::new());
        put(&mut headers, Field::MaxForwards, "70");
        for route in routes {
            put(&mut headers, Field::Route, route);
        }
        put(&mut headers, Field::From, self.local.clone());
        put(&mut headers, Field::To, self.remote.clone());
        put(&mut headers, Field::CallId, self.call_id.clone());
        put(&mut headers, Field::CSeq, format!("{seq} {method}"));
        Message { start: StartLine::Request { method, uri }, headers, body: Bytes::new() }
    }

    fn next_hop(&self) -> &Uri {
        self.routes.first().map_or(&self.target, |first| &first.uri)
    }

    /// The name to look up before a request can take the right way. Until it is known, the way the dialog was made
    /// serves: whoever sat there forwards to where the request line says.
    pub(crate) fn lookup(&self) -> Option<NextHop> {
        // The peer of a WebSocket is where its connection is, and nowhere else.
        if self.resolved.is_some() || self.flow.transport.web_socket() {
            return None;
        }
        let hop = self.named_hop()?;
        (hop.ip().is_none() && !hop.is_invalid()).then_some(hop)
    }

    /// The next hop, by the transport of the dialog where it names none.
    fn named_hop(&self) -> Option<NextHop> {
        let hop = NextHop::of(self.next_hop()).ok()?;
        // A name by itself would be looked up for whatever is best; a stream or TLS must not become UDP.
        let transport = hop.transport.or(self.flow.transport.reliable().then_some(self.flow.transport));
        Some(NextHop { transport, ..hop })
    }

    pub(crate) fn resolved(&mut self, ways: Vec<Flow>) {
        self.resolved = Some(ways);
    }

    /// The way the dialog was made.
    pub(crate) fn made_on(&self) -> Flow {
        self.flow
    }

    /// Where requests of this dialog go.
    pub(crate) fn flow(&self) -> Flow {
        self.ways().0
    }

    /// Where requests of this dialog go, and where else they may when that fails.
    pub(crate) fn ways(&self) -> (Flow, Vec<Flow>) {
        if self.flow.transport.web_socket() {
            return (self.flow, Vec::new());
        }
        let source = self.flow.remote;
        let mut ways = self.resolved.clone().unwrap_or_default();
        let hop = self.named_hop();
        if let Some((hop, ip)) = hop.as_ref().and_then(|hop| Some((hop, hop.ip()?))) {
            let transport = hop.transport.unwrap_or(self.flow.transport);
            let remote = SocketAddr::new(ip, hop.port.unwrap_or(transport.default_port()));
            ways.push(Flow { transport, remote, connection: None, redial: None, name: None, ..self.flow });
        }
        // A Contact behind a NAT is reached the way its packets came; a route is an address of a server and is not.
        if self.routes.is_empty() {
            ways.retain(|way| !hidden(way.remote.ip(), source.ip()));
        }
        let asked = hop.and_then(|hop| hop.transport).unwrap_or(self.flow.transport);
        if self.flow.transport.reliable() && asked == self.flow.transport {
            // The connection that is up is used; `redial` is where a new one goes.
            let named = ways.first();
            let redial = named.map(|way| way.remote).or(self.flow.redial);
            let name = named.and_then(|way| way.name).or(self.flow.name);
            return (Flow { redial, name, ..self.flow }, ways.into_iter().skip(1).collect());
        }
        if ways.is_empty() {
            return (self.flow, ways);
        }
        let first = ways.remove(0);
        (first, ways)
    }
}

fn contact(message: &Message) -> Result<Uri, HeaderError> {
    Ok(message.contact()?.ok_or(HeaderError::Missing(Field::Contact))?.uri.as_request_target())
}
