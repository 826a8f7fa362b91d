//! HTTP requests, by the route that answered them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::{Counter, Histogram, Kind, Text};

/// The route of requests that no route took.
pub const ROUTE_UNKNOWN: &str = "(none)";

/// The methods that have figures of their own.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const CLASSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Debug)]
struct Route {
    classes: [Counter; CLASSES.len()],
    latency: Histogram,
}

/// By method and route.
type Routes = HashMap<(&'static str, Arc<str>), Arc<Route>>;

/// Requests answered. As many entries as there are routes and methods: the path that was asked for is none of them.
#[derive(Debug, Default)]
pub struct Http {
    routes: RwLock<Routes>,
}

impl Http {
    /// A request was answered; `route` is the router's own pattern.
    pub fn answered(&self, method: &str, route: Option<&str>, status: u16, time: Duration) {
        let method = METHODS.iter().find(|known| **known == method).copied().unwrap_or("other");
        let key = (method, Arc::from(route.unwrap_or(ROUTE_UNKNOWN)));
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let figures = known.unwrap_or_else(|| {
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Route { classes: Default::default(), latency: Histogram::of_times() });
            routes.entry(key).or_insert_with(new).clone()
        });
        if let Some(class) = figures.classes.get(usize::from(status / 100).saturating_sub(1)) {
            class.add(1);
        }
        figures.latency.note_time(time);
    }

    pub(super) fn write(&self, text: &mut Text) {
        let mut routes: Vec<_> = self
            .routes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|((method, route), figures)| (route.clone(), *method, figures.clone()))
            .collect();
        routes.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let help = "HTTP requests answered, by method, route and class of status.";
        text.family("mesh_http_requests", Kind::Counter, help);
        for (route, method, figures) in &routes {
            for (class, counter) in CLASSES.iter().zip(&figures.classes).filter(|(_, counter)| counter.get() > 0) {
                let labels = [("method", *method), ("route", &**route), ("status", *class)];
                text.sample("_total", &labels, counter.get());
            }
        }
        let help = "How long HTTP requests took, by method and route.";
        text.family("mesh_http_request_duration_seconds", Kind::Histogram, help);
        for (route, method, figures) in &routes {
            text.histogram(&[("method", *method), ("route", &**route)], &figures.latency, 1e-9);
        }
    }
}
