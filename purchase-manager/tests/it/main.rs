//! Tests of purchase-manager: the saga as scripts (pure), and the orchestrator on real PostgreSQL.

mod orchestrator;
mod purchase;
mod saga_script;
mod script;
