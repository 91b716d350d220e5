//! Destinations: where records go.
