//! The page at /: version, directives, losses and links at a glance, in one answer without scripts.

use std::fmt::{self, Display, Write};

use super::status::{Counts, Directive, Status};
use crate::pipeline::{End, State};
use crate::time::Timestamp;

/// Fields of the page's answer: nothing is loaded from anywhere, and it is in no other page's frame.
pub(super) const FIELDS: &str = "Cache-Control: no-store\r\n\
     Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n";

/// Appends the page.
pub fn write(status: &Status, metrics_path: &str, out: &mut Vec<u8>) {
    // Writing into memory cannot fail.
    let _ = page(status, metrics_path, &mut Text(out));
}

fn page(status: &Status, metrics_path: &str, out: &mut Text<'_>) -> fmt::Result {
    let running = status.directives.iter().filter(|directive| directive.state == State::Running).count();
    let failed = status.directives.iter().filter(|directive| tone(directive) == "bad").count();
    let lost: u64 = status.losses.0.iter().map(|(_, count)| count).sum();
    write!(
        out,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Tawon on {host}</title><style>{CSS}</style><main>\
         <header><h1>Tawon</h1><p>{version} ({revision}) on {host}{id}</p>\
         <nav><a href=\"{metrics}\">metrics</a><a href=\"/directives\">directives</a>\
         <a href=\"/healthz\">healthz</a><a href=\"/readyz\">readyz</a></nav></header>",
        host = Escaped(&status.hostname),
        version = Escaped(status.version),
        revision = Escaped(status.revision),
        id = Named(&status.tawon_id, &status.hostname),
        metrics = Escaped(metrics_path),
    )?;
    out.write_str("<div class=tiles>")?;
    tile(out, if status.ready { "ok" } else { "wait" }, if status.ready { "ready" } else { "starting" }, "state")?;
    tile(out, "", &format!("{running} of {}", status.directives.len()), "directives running")?;
    tile(out, if failed > 0 { "bad" } else { "" }, &failed.to_string(), "directives failed")?;
    tile(out, if lost > 0 { "bad" } else { "ok" }, &Grouped(lost).to_string(), "records lost")?;
    tile(out, "", &Span(status.started_at, status.now).to_string(), "up")?;
    out.write_str("</div>")?;
    config(status, out)?;
    directives(status, out)?;
    losses(&status.losses, out)?;
    out.write_str("</main></html>\n")
}

fn tile(out: &mut Text<'_>, tone: &str, value: &str, name: &str) -> fmt::Result {
    write!(out, "<div class=tile><b class=\"{tone}\">{}</b><span class=dim>{name}</span></div>", Escaped(value))
}

fn config(status: &Status, out: &mut Text<'_>) -> fmt::Result {
    let config = &status.config;
    let Some(path) = &config.path else { return Ok(()) };
    write!(out, "<h2>Configuration</h2><div class=\"tile box\"><code>{}</code>", Escaped(path))?;
    if let Some(at) = config.loaded_at {
        write!(out, " <span class=dim>read {} ago, {}</span>", Span(at, status.now), Second(at))?;
    }
    if config.restart_required {
        out.write_str(" <span class=\"chip wait\">restart required</span>")?;
    }
    if let Some(error) = &config.error {
        write!(out, "<p class=error>not taken: {}</p>", Escaped(error))?;
    }
    out.write_str("</div>")
}

fn directives(status: &Status, out: &mut Text<'_>) -> fmt::Result {
    out.write_str("<h2>Directives</h2>")?;
    if status.directives.is_empty() {
        return out.write_str("<p class=dim>None is configured.</p>");
    }
    out.write_str(
        "<div class=box><table><thead><tr><th>Name<th>State<th>Since<th>Pipeline<th>Counts<th>Runs</thead><tbody>",
    )?;
    for directive in &status.directives {
        row(directive, status.now, out)?;
    }
    out.write_str("</tbody></table></div>")
}

fn row(directive: &Directive, now: Timestamp, out: &mut Text<'_>) -> fmt::Result {
    let state = match (directive.state, directive.status) {
        (State::Ended, Some(end)) => end.name(),
        (state, _) => state.name(),
    };
    write!(out, "<tr><th>{}", Escaped(&directive.name))?;
    if let Some(origin) = &directive.origin {
        write!(out, "<br><span class=dim><code>{}</code></span>", Escaped(origin))?;
    }
    write!(out, "</th><td><span class=\"chip {}\">{state}</span>", tone(directive))?;
    for (what, at) in
        [("starts", directive.starts_at), ("ends", directive.ends_at), ("next try", directive.next_try_at)]
    {
        if let Some(at) = at {
            write!(out, "<br><span class=dim>{what} {}</span>", Second(at))?;
        }
    }
    if let Some(error) = &directive.last_error {
        write!(out, "<p class=error>{}</p>", Escaped(error))?;
    }
    write!(
        out,
        "<td class=n title=\"{}\">{}</td><td class=pipe>",
        Second(directive.since),
        Span(directive.since, now)
    )?;
    for (at, task) in directive.tasks.iter().enumerate() {
        let arrow = if at > 0 { "<i>&rarr;</i>" } else { "" };
        write!(out, "{arrow}<code>{}</code>", Escaped(&task.task))?;
    }
    out.write_str("<td class=n>")?;
    counts(&directive.counts, out)?;
    for task in &directive.tasks {
        counts(&task.counts, out)?;
    }
    let runs = directive.runs;
    write!(out, "<td class=n>{} ended", runs.completed + runs.stopped + runs.failed)?;
    if runs.failed > 0 {
        write!(out, "<br><span class=bad>{} failed</span>", runs.failed)?;
    }
    Ok(())
}

fn counts(counts: &Counts, out: &mut Text<'_>) -> fmt::Result {
    if counts.0.is_empty() {
        return Ok(());
    }
    out.write_str("<ul class=counts>")?;
    for (name, count) in &counts.0 {
        write!(out, "<li>{} <span class=dim>{}</span>", Grouped(*count), Escaped(name))?;
    }
    out.write_str("</ul>")
}

fn losses(losses: &Counts, out: &mut Text<'_>) -> fmt::Result {
    out.write_str("<h2>Losses</h2>")?;
    if losses.0.iter().all(|(_, count)| *count == 0) {
        return out.write_str("<p class=dim>Nothing was lost.</p>");
    }
    out.write_str("<div class=box><table><thead><tr><th>Metric<th>Count</thead><tbody>")?;
    for (name, count) in losses.0.iter().filter(|(_, count)| *count > 0) {
        write!(out, "<tr><td><code>{}</code><td class=\"n bad\">{}", Escaped(name), Grouped(*count))?;
    }
    out.write_str("</tbody></table></div>")
}

/// The colour of a directive's state.
fn tone(directive: &Directive) -> &'static str {
    match (directive.state, directive.status) {
        (State::Running, _) => "ok",
        (State::Scheduled, _) => "wait",
        (State::Ended, Some(End::Failed)) => "bad",
        (State::Ended, _) => "dim",
    }
}

/// Lets formatted text go into the answer's buffer.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Text that may stand in an element or a quoted attribute.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['&', '<', '>', '"', '\'']) {
            let (text, last) = match part.char_indices().next_back() {
                Some((at, last @ ('&' | '<' | '>' | '"' | '\''))) => (&part[..at], Some(last)),
                _ => (part, None),
            };
            f.write_str(text)?;
            match last {
                Some('&') => f.write_str("&amp;")?,
                Some('<') => f.write_str("&lt;")?,
                Some('>') => f.write_str("&gt;")?,
                Some('"') => f.write_str("&quot;")?,
                Some(_) => f.write_str("&#39;")?,
                None => {}
            }
        }
        Ok(())
    }
}

/// The tawonID, where it says more than the host name.
struct Named<'a>(&'a str, &'a str);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { Ok(()) } else { write!(f, " as {}", Escaped(self.0)) }
    }
}

/// A count with thin gaps between groups of three digits.
struct Grouped(u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char('\u{202f}')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// How long it is from one time to another, in the two units that matter.
struct Span(Timestamp, Timestamp);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.0.saturating_sub(self.0.0) / 1_000_000_000 {
            secs @ 0..60 => write!(f, "{secs} s"),
            secs @ 60..3600 => write!(f, "{} min {} s", secs / 60, secs % 60),
            secs @ 3600..86_400 => write!(f, "{} h {} min", secs / 3600, secs / 60 % 60),
            secs => write!(f, "{} d {} h", secs / 86_400, secs / 3600 % 24),
        }
    }
}

/// A time to the second, in UTC.
struct Second(Timestamp);

impl Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        write!(f, "{} {} UTC", text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default())
    }
}

const CSS: &str = include_str!("page.css");
