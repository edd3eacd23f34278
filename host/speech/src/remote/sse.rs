//! Server-sent events, the data of each.

use super::ProviderFailure;
use super::dial::Body;
use eventsource_stream::{EventStream, EventStreamError};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

/// The events of a body, which is bounded by `limit` as a whole.
pub(super) struct Events {
    stream: BoxStream<'static, Result<String, ProviderFailure>>,
}

impl Events {
    pub(super) fn new(body: Body, limit: usize) -> Self {
        let pieces = stream::try_unfold(body, move |mut body| async move {
            Ok::<_, ProviderFailure>(body.next(limit).await?.map(|piece| (piece, body)))
        });
        let events = EventStream::new(pieces.boxed()).map(|event| match event {
            Ok(event) => Ok(event.data),
            Err(EventStreamError::Transport(failure)) => Err(failure),
            Err(EventStreamError::Utf8(_)) => Err(ProviderFailure::Rubbish("an event that is no UTF-8".to_owned())),
            Err(EventStreamError::Parser(_)) => Err(ProviderFailure::Rubbish("what is no event stream".to_owned())),
        });
        Self { stream: events.boxed() }
    }

    /// The data of the next event; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, ProviderFailure> {
        self.stream.next().await.transpose()
    }
}
