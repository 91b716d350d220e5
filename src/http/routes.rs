//! What is answered: /metrics, /healthz and /readyz to all; /directives and the page to loopback
//! peers and the networks of status.allow.

use std::net::IpAddr;

use super::listener::Scope;
use super::status::Status;
use super::{Handler, Request, Response, page};
use crate::config::Network;

/// What the routes show, kept by the agent.
pub trait Site {
    /// Appends all metrics in text format 0.0.4.
    fn metrics(&mut self, out: &mut Vec<u8>);

    /// Whether every enabled directive runs or has been reported failed; else why not, in one line.
    fn ready(&self) -> Result<(), String>;

    fn status(&mut self) -> Status;
}

/// The routes over a site.
pub struct Routes<'a> {
    /// metrics.path
    pub metrics_path: &'a str,
    /// status.allow
    pub allow: &'a [Network],
    pub site: &'a mut dyn Site,
}

impl Handler for Routes<'_> {
    fn answer(&mut self, request: &Request<'_>, response: &mut Response) {
        let Some(route) = self.route(request) else { return response.plain(404, "nothing here") };
        response.handler = route.name();
        if !matches!(request.method, "GET" | "HEAD") {
            response.plain(405, "only GET and HEAD");
            response.fields = "Allow: GET, HEAD\r\n";
            return;
        }
        if route.guarded() && !allowed(request.peer, self.allow) {
            return response.plain(403, "for loopback and the networks of status.allow");
        }
        match route {
            Route::Metrics => {
                // Whatever Accept says: OpenMetrics would rename the counters.
                response.content_type = "text/plain; version=0.0.4; charset=utf-8";
                self.site.metrics(&mut response.body);
            }
            Route::Healthz => response.plain(200, "ok"),
            Route::Readyz => match self.site.ready() {
                Ok(()) => response.plain(200, "ok"),
                Err(why) => response.plain(503, &why),
            },
            Route::Directives => {
                response.content_type = "application/json";
                response.fields = "Cache-Control: no-store\r\n";
                crate::task::record::json_into(&self.site.status(), &mut response.body);
                response.body.push(b'\n');
            }
            Route::Page => {
                response.content_type = "text/html; charset=utf-8";
                response.fields = page::FIELDS;
                page::write(&self.site.status(), self.metrics_path, &mut response.body);
            }
        }
    }
}

impl Routes<'_> {
    fn route(&self, request: &Request<'_>) -> Option<Route> {
        Some(match (request.scope, request.path) {
            (_, "/healthz") => Route::Healthz,
            (_, "/readyz") => Route::Readyz,
            (Scope::Probes, _) => return None,
            (_, path) if path == self.metrics_path => Route::Metrics,
            (_, "/directives") => Route::Directives,
            (_, "/") => Route::Page,
            _ => return None,
        })
    }
}

/// Whether `peer` may see what the agent does, beyond its metrics and health.
fn allowed(peer: IpAddr, allow: &[Network]) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || allow.iter().any(|network| network.contains(peer))
}

#[derive(Clone, Copy)]
enum Route {
    Metrics,
    Healthz,
    Readyz,
    Directives,
    Page,
}

impl Route {
    /// `handler` of tawon_listener_requests_total.
    fn name(self) -> &'static str {
        match self {
            Route::Metrics => "metrics",
            Route::Healthz => "healthz",
            Route::Readyz => "readyz",
            Route::Directives => "directives",
            Route::Page => "page",
        }
    }

    fn guarded(self) -> bool {
        matches!(self, Route::Directives | Route::Page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_named_networks_are_let_in_and_nobody_else() {
        let allow: Vec<Network> = ["10.1.0.0/16", "192.0.2.7"].iter().map(|text| text.parse().unwrap()).collect();
        for (peer, let_in) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("fe80::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
        ] {
            assert_eq!(allowed(peer.parse().unwrap(), &allow), let_in, "{peer}");
        }
    }
}
