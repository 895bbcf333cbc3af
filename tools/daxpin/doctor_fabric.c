/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ends a peer's access on the providers of libfabric. The trial is that of
 * daxpin_ofi_probe(3), on private memory only. Each runs in a process of its own,
 * because a provider that crashes or hangs would end the report (libfabric 1.17's
 * sockets does in one of about ten runs). Only that process loads the library, because
 * providers replace the handlers of signals as soon as they are loaded (psm of 1.17).
 */
#include <daxpin-ofi.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "doctor.h"

#define NAME_SIZE	64u
#define FABRICS_MAX	32u
#define TRIAL_BYTES	(8u << 20)
#define LIMIT_MS	300000		/* a trial takes three seconds as a rule */
#define LOOPBACK	"127.0.0.1"

struct fabric {
	char name[NAME_SIZE];		/* of the provider, as libfabric reports it */
	int error;			/* 0, or why there was no trial: -errno, */
	char error_text[80];		/* ... in words, if libfabric was loaded */
	int signal;			/* that ended the trial's process, or 0 */
	struct daxpin_ofi_report report;
};

struct fabric_list {
	int error;			/* 0, or why there is none: -errno */
	unsigned int count;
	struct fabric fabric[FABRICS_MAX];
};

static struct fabric_list fabrics;

/* The functions of libdaxpin-ofi and of libfabric, which it needs. */
#define LIBRARY		"libdaxpin-ofi.so.0"

static struct {
	__typeof__(fi_getinfo) *getinfo;
	__typeof__(fi_freeinfo) *freeinfo;
	__typeof__(fi_dupinfo) *dupinfo;
	__typeof__(fi_fabric) *fabric;
	__typeof__(fi_strerror) *strerror;
	__typeof__(daxpin_ofi_probe) *probe;
} library;

/* The object representation of a pointer to a function is that of void * (POSIX). */
static bool find_function(void *handle, const char *name, void *ret_function)
{
	void *found = dlsym(handle, name);

	memcpy(ret_function, &found, sizeof(found));
	return found;
}

static int load_library(void)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW);

	if (!handle)
		return -ELIBACC;
	return find_function(handle, "fi_getinfo", &library.getinfo) &&
	       find_function(handle, "fi_freeinfo", &library.freeinfo) &&
	       find_function(handle, "fi_dupinfo", &library.dupinfo) &&
	       find_function(handle, "fi_fabric", &library.fabric) &&
	       find_function(handle, "fi_strerror", &library.strerror) &&
	       find_function(handle, "daxpin_ofi_probe", &library.probe) ?
		       0 : -ELIBBAD;
}

/* ------------------------------------------------------------- the providers */

/* In this order: the mode that an attach needs on shm, and the address that every
 * machine has, are tried first. */
static const struct {
	bool loopback;
	int mr_mode;
} searches[] = {
	{ true, FI_MR_LOCAL | FI_MR_ENDPOINT },
	{ false, FI_MR_LOCAL | FI_MR_ENDPOINT },
	{ true, FI_MR_LOCAL | FI_MR_ENDPOINT | FI_MR_VIRT_ADDR |
		FI_MR_ALLOCATED | FI_MR_PROV_KEY },
	{ false, FI_MR_LOCAL | FI_MR_ENDPOINT | FI_MR_VIRT_ADDR |
		 FI_MR_ALLOCATED | FI_MR_PROV_KEY },
};
#define SEARCHES	(sizeof(searches) / sizeof(searches[0]))

/* What the library can use: NULL if there is nothing. */
static struct fi_info *search(unsigned int number)
{
	struct fi_info *hints = library.dupinfo(NULL), *found = NULL;

	if (!hints)
		return NULL;
	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_RMA;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->domain_attr->mr_mode = searches[number].mr_mode;
	if (library.getinfo(FI_VERSION(1, 11),
		       searches[number].loopback ? LOOPBACK : NULL, NULL,
		       searches[number].loopback ? FI_SOURCE : 0, hints, &found))
		found = NULL;
	library.freeinfo(hints);
	return found;
}

static void add_name(struct fabric_list *list, const char *name)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (!strcmp(list->fabric[i].name, name))
			return;
	if (list->count == FABRICS_MAX || strlen(name) >= NAME_SIZE)
		return;
	snprintf(list->fabric[list->count++].name, NAME_SIZE, "%s", name);
}

static void list_names(struct fabric_list *list)
{
	struct fi_info *found;

	for (unsigned int i = 0; i < SEARCHES; i++) {
		found = search(i);
		for (struct fi_info *at = found; at; at = at->next)
			add_name(list, at->fabric_attr->prov_name);
		if (found)
			library.freeinfo(found);
	}
}

static struct fi_info *find_info(const char *name)
{
	struct fi_info *found, *at, *info = NULL;

	for (unsigned int i = 0; i < SEARCHES && !info; i++) {
		found = search(i);
		for (at = found; at && strcmp(at->fabric_attr->prov_name, name);)
			at = at->next;
		if (at)
			info = library.dupinfo(at);
		if (found)
			library.freeinfo(found);
	}
	return info;
}

/* "tcp;ofi_rxm" is wanted by that name, by "tcp", by "ofi_rxm", and by "all". */
static bool is_wanted(const char *name, const char *wanted)
{
	const size_t length = strlen(wanted);

	if (!strcmp(wanted, "all") || !strcmp(name, wanted))
		return true;
	for (; *name; name += strcspn(name, ";"), name += *name == ';')
		if (strcspn(name, ";") == length &&
		    !strncmp(name, wanted, length))
			return true;
	return false;
}

/* -------------------------------------------------------- processes of trials */

/* After the providers were loaded: its parent must see how the process ends. */
static void restore_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT,
				       SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
}

/*
 * The memory is private to this process, also for providers that an attach refuses
 * because a device of them stores the bytes: the kernel gives pages that a device can
 * reach to nobody else before the device's access has ended. Memory of a pool has no
 * such protection.
 */
static int try_fabric(struct fabric *fabric)
{
	void *memory = aligned_alloc(PAGE, TRIAL_BYTES);
	struct fi_info *info = find_info(fabric->name);
	struct fid_fabric *opened;
	int ret;

	if (!memory)
		return -ENOMEM;
	if (!info)
		return -ENODEV;
	ret = library.fabric(info->fabric_attr, &opened, NULL);
	if (ret)
		return ret;
	restore_signals();
	prctl(PR_SET_NAME, "daxpin-trial");
	fabric->report.size = sizeof(fabric->report);
	return library.probe(opened, info, memory, TRIAL_BYTES,
			     &fabric->report);
}

/* Codes of libfabric above 255 are none of errno. */
static void run_trial(struct fabric *fabric)
{
	fabric->error = try_fabric(fabric);
	if (fabric->error)
		snprintf(fabric->error_text, sizeof(fabric->error_text), "%s",
			 library.strerror(-fabric->error));
}

/* In the child. Without a fabric, it lists the names. */
static void child_run(struct fabric *fabric, int fd)
{
	void *result = fabric ? (void *)fabric : (void *)&fabrics;
	const size_t size = fabric ? sizeof(*fabric) : sizeof(fabrics);
	const char *at = result;
	ssize_t written;
	int ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ret = load_library();
	if (fabric)
		fabric->error = ret;
	else
		fabrics.error = ret;
	if (fabric && !ret)
		run_trial(fabric);
	else if (!ret)
		list_names(&fabrics);
	for (size_t done = 0; done < size; done += (size_t)written) {
		written = write(fd, at + done, size - done);
		if (written <= 0)
			_exit(1);
	}
	_exit(0);
}

/* All of it, or false: the process died or was too slow. */
static bool receive(int fd, void *result, size_t size)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char *at = result;
	ssize_t count;

	for (size_t done = 0; done < size; done += (size_t)count) {
		if (poll(&poll_fd, 1, LIMIT_MS) != 1)
			return false;
		count = read(fd, at + done, size - done);
		if (count <= 0)
			return false;
	}
	return true;
}

/* 0, a signal that ended the process, or -errno. result is unchanged after an error. */
static int run_child(struct fabric *fabric)
{
	static union { struct fabric fabric; struct fabric_list list; } answer;
	const size_t size = fabric ? sizeof(*fabric) : sizeof(fabrics);
	void *result = fabric ? (void *)fabric : (void *)&fabrics;
	int fds[2], status = 0;
	bool received;
	pid_t pid;

	if (pipe(fds))
		return -errno;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fds[0]);
		child_run(fabric, fds[1]);
	}
	close(fds[1]);
	received = pid > 0 && receive(fds[0], &answer, size);
	close(fds[0]);
	if (pid < 0)
		return -EAGAIN;
	if (!received)
		kill(pid, SIGKILL);	/* its exit may be what was received */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!received)
		return WIFSIGNALED(status) ? WTERMSIG(status) : -EIO;
	memcpy(result, &answer, size);
	return 0;
}

/* ----------------------------------------------------------------- the report */

static const char *const ends_name[] = {
	[DAXPIN_OFI_ENDS_UNKNOWN] = "unknown",
	[DAXPIN_OFI_ENDS_REGION] = "region",
	[DAXPIN_OFI_ENDS_ENDPOINT] = "endpoint",
	[DAXPIN_OFI_ENDS_NOTHING] = "nothing",
};

static const char *const writer_name[] = {
	[DAXPIN_OFI_WRITER_UNKNOWN] = "unknown",
	[DAXPIN_OFI_WRITER_PROCESS] = "process",
	[DAXPIN_OFI_WRITER_DEVICE] = "device",
	[DAXPIN_OFI_WRITER_RDMA] = "rdma",
};

static bool was_tried(const struct fabric *fabric)
{
	return !fabric->error && !fabric->signal;
}

static bool writer_is_accepted(const struct daxpin_ofi_report *report)
{
	return report->writer == DAXPIN_OFI_WRITER_PROCESS ||
	       report->writer == DAXPIN_OFI_WRITER_RDMA;
}

/* What an attach would return. */
static enum verdict verdict_of(const struct fabric *fabric)
{
	const struct daxpin_ofi_report *report = &fabric->report;

	if (!was_tried(fabric))
		return VERDICT_UNKNOWN;
	if (report->writer == DAXPIN_OFI_WRITER_DEVICE ||
	    report->ends == DAXPIN_OFI_ENDS_NOTHING)
		return VERDICT_NO;
	return writer_is_accepted(report) &&
	       report->ends != DAXPIN_OFI_ENDS_UNKNOWN ? VERDICT_YES :
	       VERDICT_UNKNOWN;
}

static void report_untried(struct doctor *doctor, const struct fabric *fabric,
			   struct answer answer)
{
	answer.verdict = VERDICT_UNKNOWN;
	if (fabric->signal) {
		answer.remedy = "run this again; if it always crashes or hangs, use another provider, or another version of libfabric";
		doctor_report(doctor, answer, "%s: the process of its trial was ended by signal %d (%s)",
			      fabric->name, fabric->signal,
			      strsignal(fabric->signal));
		return;
	}
	answer.remedy = "FI_LOG_LEVEL=warn shows what the provider reports";
	doctor_report(doctor, answer, "%s: the trial failed: %s", fabric->name,
		      fabric->error_text[0] ? fabric->error_text :
					      strerror(-fabric->error));
}

static void report_fabric(struct doctor *doctor, const struct fabric *fabric,
			  bool needed)
{
	const struct daxpin_ofi_report *report = &fabric->report;
	struct answer answer = {
		.subject = SUBJECT_FABRIC, .needed = needed,
		.verdict = verdict_of(fabric),
	};

	if (!was_tried(fabric)) {
		report_untried(doctor, fabric, answer);
		return;
	}
	if (!writer_is_accepted(report))
		answer.remedy = report->writer_what;
	else if (answer.verdict != VERDICT_YES)
		answer.remedy = "do what the sentence ends with, or use another provider";
	doctor_report(doctor, answer, "%s", report->what);
}

static void names_text(char *text, size_t size)
{
	size_t used = 0;

	snprintf(text, size, "none");
	for (unsigned int i = 0; i < fabrics.count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s",
					 i ? " " : "", fabrics.fabric[i].name);
}

static void report_none_wanted(struct doctor *doctor)
{
	char names[512];

	names_text(names, sizeof(names));
	if (doctor->fabric)
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_FABRIC, .verdict = VERDICT_NO,
			.needed = true,
			.remedy = "name one of these, or find out with FI_LOG_LEVEL=info why it is missing: one whose device is missing, for example that of verbs, is not listed",
		}, "libfabric has no provider %s with FI_RMA and FI_EP_RDM here; it has: %s",
			      doctor->fabric, names);
	else
		doctor_report(doctor, (struct answer) {
			.subject = SUBJECT_FABRIC, .verdict = VERDICT_UNKNOWN,
			.remedy = "name a provider with --fabric PROVIDER, or --fabric all",
		}, "no provider of libfabric was tried; this machine has: %s", names);
}

static void report_unlisted(struct doctor *doctor, int ret)
{
	const struct answer no_library = {
		.subject = SUBJECT_FABRIC, .verdict = VERDICT_UNKNOWN,
		.needed = doctor->fabric != NULL,
		.remedy = "install libdaxpin-ofi and libfabric",
	};

	if (ret == -ELIBACC || ret == -ELIBBAD) {
		doctor_report(doctor, no_library, "%s cannot be loaded, or is of another version",
			      LIBRARY);
		return;
	}
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_FABRIC, .verdict = VERDICT_UNKNOWN,
		.needed = doctor->fabric != NULL,
		.remedy = "fi_info, of libfabric, lists the providers: FI_PROVIDER=NAME leaves out all others",
	}, "the process that lists libfabric's providers failed: %s",
		      ret > 0 ? strsignal(ret) : strerror(-ret));
}

/* Those that are not wanted leave the list. */
static void keep_wanted(const char *wanted)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < fabrics.count; i++)
		if (is_wanted(fabrics.fabric[i].name, wanted))
			fabrics.fabric[count++] = fabrics.fabric[i];
	fabrics.count = count;
}

static bool any_wanted(const char *wanted)
{
	for (unsigned int i = 0; wanted && i < fabrics.count; i++)
		if (is_wanted(fabrics.fabric[i].name, wanted))
			return true;
	return false;
}

void doctor_fabric(struct doctor *doctor)
{
	int ret = run_child(NULL);

	ret = ret ? ret : fabrics.error;
	if (ret) {
		report_unlisted(doctor, ret);
		return;
	}
	if (!any_wanted(doctor->fabric)) {
		report_none_wanted(doctor);
		fabrics.count = 0;
		return;
	}
	keep_wanted(doctor->fabric);
	for (unsigned int i = 0; i < fabrics.count; i++) {
		struct fabric *fabric = &fabrics.fabric[i];

		ret = run_child(fabric);
		if (ret > 0)
			fabric->signal = ret;
		else if (ret)
			fabric->error = ret;
		report_fabric(doctor, fabric, strcmp(doctor->fabric, "all"));
	}
}

/* The number of late bytes, or that it is not known. */
static const char *late_text(char text[24], const struct fabric *fabric,
			     uint64_t late, bool was_closed)
{
	if (!was_tried(fabric) || !was_closed)
		return "-";
	snprintf(text, 24, "%llu", (unsigned long long)late);
	return text;
}

/* Was the endpoint closed in the trial? Not if the close of a region is enough, or no
 * write arrives. */
static bool endpoint_was_closed(const struct daxpin_ofi_report *report)
{
	return report->ends == DAXPIN_OFI_ENDS_ENDPOINT ||
	       report->ends == DAXPIN_OFI_ENDS_NOTHING;
}

void doctor_fabric_table(const struct doctor *doctor)
{
	char region[24], endpoint[24];

	(void)doctor;
	if (!fabrics.count)
		return;
	printf("\n%-20s %-10s %-12s %-20s %s\n", "provider", "ended by",
	       "stored by", "late: region closed", "endpoint closed");
	for (unsigned int i = 0; i < fabrics.count; i++) {
		const struct fabric *fabric = &fabrics.fabric[i];
		const struct daxpin_ofi_report *report = &fabric->report;

		printf("%-20s %-10s %-12s %-20s %s\n", fabric->name,
		       ends_name[report->ends], writer_name[report->writer],
		       late_text(region, fabric, report->region_late,
				 report->rounds > 0 || report->region_late > 0),
		       late_text(endpoint, fabric, report->endpoint_late,
				 endpoint_was_closed(report)));
	}
	printf("\n");
}

static void json_fabric(struct json *json, const struct fabric *fabric)
{
	const struct daxpin_ofi_report *report = &fabric->report;

	json_object(json, NULL);
	json_string(json, "provider", fabric->name);
	json_bool(json, "usable", verdict_of(fabric) == VERDICT_YES);
	json_string(json, "ends", ends_name[report->ends]);
	json_string(json, "writer", writer_name[report->writer]);
	json_number(json, "rounds", report->rounds);
	json_number(json, "region_late", report->region_late);
	json_number(json, "endpoint_late", report->endpoint_late);
	json_number(json, "errno", (uint64_t)-(int64_t)fabric->error);
	json_number(json, "signal", (uint64_t)fabric->signal);
	json_string(json, "what", was_tried(fabric) ? report->what : NULL);
	json_string(json, "writer_what",
		    was_tried(fabric) ? report->writer_what : NULL);
	json_end_object(json);
}

void doctor_fabric_json(struct doctor *doctor)
{
	json_array(&doctor->json, "fabrics");
	for (unsigned int i = 0; i < fabrics.count; i++)
		json_fabric(&doctor->json, &fabrics.fabric[i]);
	json_end_array(&doctor->json);
}
