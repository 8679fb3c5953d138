// Package alerting owns what happens when something burns: it groups conditions into alerts, keeps their state in
// PostgreSQL, and tells people, once.
//
// It is told everything that fires by Observe, as often as the teller likes, and works out what changed. The change and
// the notification of it commit in one transaction; a River job then renders the alert as it stands at that moment and
// hands it to a Notifier. Jobs carry only a notification's number, so a late or repeated one does no harm. An alert has
// one message in a channel, which is changed in place, and short replies in its thread.
//
// It knows conditions, not SLOs. Features that watch something (slo) and those that show alerts (dashboards) may
// import it; notifiers live beside it (alerting/slack) and import it for its types.
package alerting
