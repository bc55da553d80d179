// A threshold rule in C: compares metrics with warning and alert levels, and reports metrics that are missing. A level
// may be left at another value than it is entered at (hysteresis), so that an alert does not flap.

#include <stdlib.h>
#include <string.h>

#include "settings.h"
#include "text.h"
#include "watchpost.h"

typedef watchpost_string_t string;
typedef exports_rule_list_label_t labels;
typedef exports_rule_metric_t metric;
typedef exports_rule_gap_t gap;
typedef exports_rule_subject_t subject;
typedef exports_rule_finding_t finding;

_Static_assert(OK == EXPORTS_RULE_SEVERITY_OK && UNKNOWN == EXPORTS_RULE_SEVERITY_UNKNOWN &&
                   WARNING == EXPORTS_RULE_SEVERITY_WARNING && ALERT == EXPORTS_RULE_SEVERITY_ALERT,
               "severities are numbered as in the contract");

// The thresholds are too large for the stack of a rule.
static struct settings settings;

static string constant(const char *words) {
    return (string){(uint8_t *)words, strlen(words)};
}

static string of_text(struct text text) {
    return (string){(uint8_t *)text.bytes, text.length};
}

static void *room_for(size_t count, size_t size) {
    void *room = calloc(count > 0 ? count : 1, size);
    if (room == NULL) abort();
    return room;
}

// The exports of the component, with the names of the generated header. Parts of a result may point into the arguments
// and into constants, because memory is never freed.

void exports_rule_describe(exports_rule_manifest_t *manifest) {
    manifest->name = constant("threshold-c");
    manifest->version = constant("1.0.0");
    manifest->description = constant(
        "Compares metrics with warning and alert levels. By default: disk, memory and inodes at 80 and 90 %, the "
        "CPU's mean of a minute at 90 and 95 %, work chunks in progress at 35 and 40.");
    manifest->settings_schema = constant(settings_schema);
}

bool exports_rule_check_settings(string *json, exports_rule_plan_t *plan, exports_rule_list_problem_t *problems) {
    struct problem problem = {0};
    if (!settings_read((const char *)json->ptr, json->len, &settings, &problem)) {
        problems->len = 1;
        problems->ptr = room_for(1, sizeof *problems->ptr);
        problems->ptr[0].path = of_text(problem.at);
        problems->ptr[0].message = of_text(problem.what);
        return false;
    }
    string *names = room_for(settings.count, sizeof *names);
    for (size_t at = 0; at < settings.count; at++) {
        names[at] = constant(settings.thresholds[at].metric);
    }
    plan->metrics.is_some = true;
    plan->metrics.val.ptr = names;
    plan->metrics.val.len = settings.count;
    // The array as it is; `judge` gets the same bytes back.
    plan->settings.ptr = (uint8_t *)settings.thresholds;
    plan->settings.len = settings.count * sizeof settings.thresholds[0];
    struct text effective = {0};
    settings_write_effective(&settings, &effective);
    plan->effective_settings.is_some = true;
    plan->effective_settings.val = of_text(effective);
    return true;
}

static void judge(const exports_rule_round_t *round, exports_rule_list_finding_t *findings);

bool exports_rule_judge(exports_rule_round_t *round, watchpost_list_u8_t *bytes, exports_rule_list_finding_t *findings,
                        string *error) {
    if (bytes->len > sizeof settings.thresholds || bytes->len % sizeof settings.thresholds[0] != 0) {
        *error = constant("the settings were prepared by another version of the rule");
        return false;
    }
    memcpy(settings.thresholds, bytes->ptr, bytes->len);
    settings.count = bytes->len / sizeof settings.thresholds[0];
    judge(round, findings);
    return true;
}

// The judgement.

static int compare(string one, string other) {
    int order = memcmp(one.ptr, other.ptr, one.len < other.len ? one.len : other.len);
    return order != 0 ? order : (one.len > other.len) - (one.len < other.len);
}

// The order in which the host sorts the samples of a metric, and the findings about it.
static int compare_labels(labels some, labels others) {
    for (size_t at = 0; at < some.len && at < others.len; at++) {
        int order = compare(some.ptr[at].name, others.ptr[at].name);
        if (order == 0) order = compare(some.ptr[at].value, others.ptr[at].value);
        if (order != 0) return order;
    }
    return (some.len > others.len) - (some.len < others.len);
}

static void add(struct text *text, string piece) {
    text_add_bytes(text, piece.ptr, piece.len);
}

// A metric and its labels in the notation of Prometheus: `disk{mountpoint="/"}`.
static void add_subject(struct text *text, subject subject) {
    add(text, subject.metric);
    for (size_t at = 0; at < subject.labels.len; at++) {
        text_add(text, at == 0 ? "{" : ",");
        add(text, subject.labels.ptr[at].name);
        text_add(text, "=\"");
        add(text, subject.labels.ptr[at].value);
        text_add(text, "\"");
    }
    text_add(text, subject.labels.len > 0 ? "}" : "");
}

static void add_with_unit(struct text *text, double number, string unit) {
    text_add_number(text, number);
    if (unit.len > 0) {
        text_add(text, " ");
        add(text, compare(unit, constant("percent")) == 0 ? constant("%") : unit);
    }
}

// The value at which the level was entered that the series is in, if it is in one; it is the limit of its last finding.
typedef watchpost_option_f64_t entered;

static entered entered_before(const finding *last) {
    return last == NULL || last->severity == OK ? (entered){0} : last->limit;
}

static bool is_in(const struct level *level, entered entered) {
    return entered.is_some && entered.val == level->enter;
}

// A value equal to the level is bad; once entered, the level holds until the value is past its clear value.
static bool holds(const struct threshold *threshold, const struct level *level, double value, bool is_in) {
    double limit = is_in ? level->clear : level->enter;
    return threshold->below ? value <= limit : value >= limit;
}

static enum severity severity_of(const struct threshold *threshold, double value, entered entered) {
    bool in_alert = threshold->has_alert && is_in(&threshold->alert, entered);
    bool in_warning = threshold->has_warning && is_in(&threshold->warning, entered);
    if (threshold->has_alert && holds(threshold, &threshold->alert, value, in_alert)) {
        return ALERT;
    }
    if (threshold->has_warning && holds(threshold, &threshold->warning, value, in_alert || in_warning)) {
        return WARNING;
    }
    return OK;
}

static finding found(const struct threshold *threshold, subject subject, double value, string unit, entered entered) {
    enum severity severity = severity_of(threshold, value, entered);
    bool by_warning = threshold->has_warning && severity != ALERT;
    double limit = by_warning ? threshold->warning.enter : threshold->alert.enter;
    struct text message = {0};
    if (severity != OK) {
        add_subject(&message, subject);
        text_add(&message, " is ");
        add_with_unit(&message, value, unit);
        text_add(&message, threshold->below ? ", at or below the " : ", at or above the ");
        text_add(&message, severity == ALERT ? "alert level of " : "warning level of ");
        add_with_unit(&message, limit, unit);
    }
    return (finding){subject, (uint8_t)severity, {true, value}, {true, limit}, of_text(message)};
}

// The finding about a missing series, which keeps the level that it had entered.
static finding absent(const struct threshold *threshold, subject subject, entered entered, const gap *gap) {
    struct text message = {0};
    add_subject(&message, subject);
    if (gap == NULL) {
        text_add(&message, " is not measured; enable its source");
    } else {
        text_add(&message, " could not be measured: ");
        add(&message, gap->source);
        text_add(&message, ": ");
        add(&message, gap->reason);
    }
    return (finding){
        .subject = subject, .severity = threshold->missing, .limit = entered, .message = of_text(message)};
}

static bool covers(string name, string metric) {
    bool open = name.len > 0 && name.ptr[name.len - 1] == '*';
    if (!open) {
        return compare(name, metric) == 0;
    }
    return metric.len >= name.len - 1 && memcmp(name.ptr, metric.ptr, name.len - 1) == 0;
}

static const gap *gap_about(const exports_rule_list_gap_t *gaps, string metric) {
    for (size_t at = 0; at < gaps->len; at++) {
        const watchpost_list_string_t *names = &gaps->ptr[at].metrics;
        for (size_t name = 0; name < names->len; name++) {
            if (covers(names->ptr[name], metric)) {
                return &gaps->ptr[at];
            }
        }
    }
    return NULL;
}

static const metric *metric_named(const exports_rule_list_metric_t *metrics, string name) {
    for (size_t at = 0; at < metrics->len; at++) {
        if (compare(metrics->ptr[at].name, name) == 0) {
            return &metrics->ptr[at];
        }
    }
    return NULL;
}

// Judges one metric: merges its samples and its findings of the last round, which are both sorted by labels. A series
// of the last round that a gap explains is reported as missing; a series that is missing without a gap no longer
// exists, like an unmounted disk, and has no finding.
static void judge_metric(const struct threshold *threshold, const exports_rule_round_t *round,
                         exports_rule_list_finding_t *findings) {
    string name = constant(threshold->metric);
    const metric *metric = metric_named(&round->metrics, name);
    const gap *gap = gap_about(&round->gaps, name);
    // The findings of the last round that are about this metric.
    const finding *last = round->last.ptr, *end = last + round->last.len;
    while (last < end && compare(last->subject.metric, name) != 0) last++;
    const finding *after = last;
    while (after < end && compare(after->subject.metric, name) == 0) after++;
    // The finding about the metric as a whole comes first.
    const finding *whole = last < after && last->subject.labels.len == 0 ? last : NULL;
    size_t before = findings->len;
    for (size_t at = 0, count = metric == NULL ? 0 : metric->samples.len; at < count || last < after;) {
        const exports_rule_sample_t *sample = at < count ? &metric->samples.ptr[at] : NULL;
        int order = sample == NULL ? -1 : last == after ? 1 : compare_labels(last->subject.labels, sample->labels);
        if (order < 0) {
            if (gap != NULL && last->subject.labels.len > 0 && threshold->missing != OK) {
                findings->ptr[findings->len++] = absent(threshold, last->subject, entered_before(last), gap);
            }
            last++;
            continue;
        }
        entered entered = entered_before(order == 0 ? last++ : NULL);
        subject subject = {metric->name, sample->labels};
        findings->ptr[findings->len++] = found(threshold, subject, sample->value, metric->unit, entered);
        at++;
    }
    if (findings->len == before && threshold->missing != OK) {
        findings->ptr[findings->len++] = absent(threshold, (subject){.metric = name}, entered_before(whole), gap);
    }
}

static void judge(const exports_rule_round_t *round, exports_rule_list_finding_t *findings) {
    size_t max_findings = settings.count + round->last.len;
    for (size_t at = 0; at < round->metrics.len; at++) {
        max_findings += round->metrics.ptr[at].samples.len;
    }
    findings->ptr = room_for(max_findings, sizeof(finding));
    findings->len = 0;
    for (size_t at = 0; at < settings.count; at++) {
        judge_metric(&settings.thresholds[at], round, findings);
    }
}
