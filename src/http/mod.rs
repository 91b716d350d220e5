//! The agent's HTTP side: `listener` is a server that the one event loop drives, without a thread
//! and without ever waiting for a client; `routes` says what is answered; `status` is what
//! /directives and the page show.

mod connection;
mod encoding;
pub mod listener;
pub mod page;
pub mod request;
pub mod response;
pub mod routes;
mod socket;
pub mod status;
#[cfg(test)]
mod tests;

pub use listener::{Scope, Server};
pub use request::Request;
pub use response::Response;

/// What answers requests.
pub trait Handler {
    /// Fills `response`, which comes as 200 without a body. The method is any: a HEAD is filled as a
    /// GET, its body is left out when it is sent.
    fn answer(&mut self, request: &Request<'_>, response: &mut Response);
}
