//! As much of HTTP/1.1 as a browser's signalling needs: one connection that is kept, bodies of a known length.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The longest body that is read.
const LONGEST: usize = 1 << 20;

/// A response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// `Location`, where there is one.
    pub location: Option<String>,
    /// Its body.
    pub body: String,
}

/// A client of one host.
#[derive(Debug)]
pub struct Client {
    host: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client that has not connected yet.
    #[must_use]
    pub const fn new(host: SocketAddr) -> Self {
        Self { host, connection: None }
    }

    /// Sends a request and reads what comes back.
    ///
    /// # Errors
    /// What the system says, or what is no HTTP.
    pub fn send(&mut self, method: &str, path: &str, token: &str, content: &str, body: &str) -> io::Result<Response> {
        let sent = self.try_send(method, path, token, content, body);
        if sent.is_err() {
            // It may have been closed for having waited too long.
            self.connection = None;
            return self.try_send(method, path, token, content, body).inspect_err(|_| self.connection = None);
        }
        sent
    }

    fn try_send(&mut self, method: &str, path: &str, token: &str, content: &str, body: &str) -> io::Result<Response> {
        let host = self.host;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let stream = TcpStream::connect(host)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(30)))?;
                none.insert(BufReader::new(stream))
            }
        };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: {content}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        connection.get_mut().write_all(request.as_bytes())?;
        read(connection)
    }
}

fn read(connection: &mut BufReader<TcpStream>) -> io::Result<Response> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
    let mut response = Response { status: status.ok_or(io::ErrorKind::InvalidData)?, ..Response::default() };
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        } else if name.eq_ignore_ascii_case("location") {
            response.location = Some(value.trim().to_owned());
        }
    }
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    response.body = String::from_utf8_lossy(&body).into_owned();
    Ok(response)
}
