//! What is answered: /metrics, /healthz and /readyz to all; /directives and the page to loopback
//! peers and the networks of status.allow.

use super::access::{Network, allowed};
use super::listener::Scope;
use super::status::Status;
use super::{Handler, Request, Response, page};

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
