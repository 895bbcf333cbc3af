/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Grants over a provider of libfabric that gets something wrong: makes no progress,
 * ends nothing, or refuses to open or to close an object.
 */
#include <daxpin-status.h>
#include <fcntl.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_errno.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "child.h"
#include "fixture.h"
#include "ofi/endpoint.h"
#include "ofi/provider.h"
#include "ofi/trial.h"
#include "ofi/types.h"
#include "ofi/wait.h"
#include "ofi_double.h"
#include "ofi_peer.h"

#define PROVIDER	"tcp;ofi_rxm"
#define BYTES		65536u

static bool trial_is_real;
static unsigned int trials;

int __real_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept);
int __wrap_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept);

static int trial_error;		/* and something of the trial remains open */

int __wrap_dp_trial(struct fid_fabric *f, const struct fi_info *i, void *memory,
		    uint64_t length, struct daxpin_ofi_report *report,
		    const struct dp_errmsg *errmsg, bool *ret_kept)
{
	trials++;
	*ret_kept = trial_error;
	if (trial_error)
		return dp_fail(errmsg, trial_error, "the test's reason");
	if (trial_is_real)
		return __real_dp_trial(f, i, memory, length, report, errmsg,
				       ret_kept);
	report->ends = DAXPIN_OFI_ENDS_ENDPOINT;
	return 0;
}

/* Of what the kernel is asked. */
static bool has_device;
static int device_error;

int __real_dp_provider_find_device(struct dp_device_found *ret_found);
int __wrap_dp_provider_find_device(struct dp_device_found *ret_found);

int __wrap_dp_provider_find_device(struct dp_device_found *ret_found)
{
	if (device_error)
		return device_error;
	if (!has_device)
		return __real_dp_provider_find_device(ret_found);
	*ret_found = (struct dp_device_found) { "/dev/infiniband/uverbs0",
						"the test's reason" };
	return 1;
}

/* Which verbs contexts the process has. */
static bool is_checked;			/* 0, or check_error and its sentence */
static int check_error;

int __real_dp_provider_check_context(const struct fi_info *i,
				     const struct dp_errmsg *errmsg);
int __wrap_dp_provider_check_context(const struct fi_info *i,
				     const struct dp_errmsg *errmsg);

int __wrap_dp_provider_check_context(const struct fi_info *i,
				     const struct dp_errmsg *errmsg)
{
	if (!is_checked)
		return __real_dp_provider_check_context(i, errmsg);
	return check_error ? dp_fail(errmsg, check_error, "the test's reason") : 0;
}

/* What arrives never does not take the 20 s that a trial waits for it, nor the part of
 * them in which its thread has to run. */
static uint64_t skip_ms, skipped_ns;
static uint64_t skip_cpu_ms, skipped_cpu_ns;

static void skip_idle_waits(void)
{
	skip_ms = 20;
	skip_cpu_ms = 1;
}

uint64_t __real_daxpin_deadline_ms(uint64_t ms);
uint64_t __wrap_daxpin_deadline_ms(uint64_t ms);

uint64_t __wrap_daxpin_deadline_ms(uint64_t ms)
{
	ofi_double_on_clock();
	skipped_ns += (ofi_double_is_idle() ? skip_ms : 0) * 1000000;
	return __real_daxpin_deadline_ms(ms) + skipped_ns;
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret_time);
/* The sanitizers' libraries refer to it too. */
__attribute__((visibility("default")))
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	int ret = __real_clock_gettime(clock, ret_time);
	uint64_t ns;

	if (ret || clock != CLOCK_THREAD_CPUTIME_ID)
		return ret;
	skipped_cpu_ns += (ofi_double_is_idle() ? skip_cpu_ms : 0) * 1000000;
	ns = (uint64_t)ret_time->tv_nsec + skipped_cpu_ns;
	ret_time->tv_sec += (time_t)(ns / 1000000000);
	ret_time->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

/* ------------------------------------------------------------------ the trial */

static int try_attach(struct fixture *f, struct daxpin_ofi **ret_ofi)
{
	const struct daxpin_ofi_options options = {
		.size = sizeof(options),
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	return daxpin_ofi_attach(f->pool, fabric, info, &options, ret_ofi);
}

static void check_trial_refuses(struct fixture *f, int result, const char *words)
{
	struct daxpin_ofi *ofi = NULL;

	trial_is_real = true;
	assert_int_equal(try_attach(f, &ofi), result);
	trial_is_real = false;
	if (!strstr(f->errmsg, words))
		fail_msg("\"%s\" does not say \"%s\"", f->errmsg, words);
	assert_null(ofi);
	assert_int_equal(pool_info(f).registrations, 0);
}

static void a_provider_without_progress_has_no_verdict(void **state)
{
	struct fixture *f = *state;
	const uint64_t before = free_bytes(f);

	SKIP_WITHOUT_PROVIDER();
	ofi_double.makes_no_progress = true;
	skip_idle_waits();
	check_trial_refuses(f, -EOPNOTSUPP, "did not arrive");
	assert_non_null(strstr(f->errmsg, "fi_pingpong"));
	assert_int_equal(free_bytes(f), before);
}

/* The write is accepted, and nothing of it arrives, with a close or without. */
static void a_provider_that_stops_after_a_post_has_no_verdict(void **state)
{
	struct fixture *f = *state;
	const uint64_t before = free_bytes(f);

	SKIP_WITHOUT_PROVIDER();
	ofi_double.stops_at_a_post = true;
	skip_idle_waits();
	check_trial_refuses(f, -EOPNOTSUPP, "did not arrive");
	assert_int_equal(free_bytes(f), before);
}

/* A trial of its own on memory of this process. */
static void probe(struct daxpin_ofi_report *report)
{
	static char memory[1 << 20];

	trial_is_real = true;
	assert_int_equal(daxpin_ofi_probe(fabric, info, memory, sizeof(memory),
					  report), 0);
	trial_is_real = false;
}

/* The question what stores the bytes has its own control, and each kind of close has
 * another. */
static void a_trial_whose_control_fails_has_no_verdict(void **state)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };

	(void)state;
	SKIP_WITHOUT_PROVIDER();
	ofi_double.stops_at_a_post = true;
	ofi_double.lively = 1;
	skip_idle_waits();
	probe(&report);
	assert_int_equal(report.writer, DAXPIN_OFI_WRITER_PROCESS);
	assert_int_equal(report.ends, DAXPIN_OFI_ENDS_UNKNOWN);
	assert_non_null(strstr(report.what, "did not arrive"));
}

/* The controls deliver all, and otherwise nothing arrives, before a close or after it.
 * So nothing shows that a close ends a write in the middle. */
static void without_a_write_that_was_partly_there_there_is_no_verdict(void **state)
{
	struct fixture *f = *state;
	const uint64_t before = free_bytes(f);

	SKIP_WITHOUT_PROVIDER();
	ofi_double.stops_at_a_post = true;
	/* Of the writer, the region and, after one round, in which no connection for
	 * the old key is made, the endpoint. */
	ofi_double.lively = 1 | 1 << 1 | 1 << 3;
	skip_idle_waits();
	check_trial_refuses(f, -EOPNOTSUPP, "had a part of one arrived");
	assert_int_equal(trials, 1);
	assert_int_equal(free_bytes(f), before);
}

/* The thread did not run, and its time is over, by both clocks, before its first step.
 * A step is a read of both endpoints. */
static void a_wait_without_time_makes_its_steps(void **state)
{
	struct dp_wait wait = dp_wait_for(0);

	(void)state;
	for (uint32_t i = 0; i < 1000; i++)
		assert_true(dp_waits(&wait));
	assert_false(dp_waits(&wait));
}

static char nic_name[] = "nic0";

/* The same of the controls: on a busy machine the thread may run for some milliseconds
 * in the 20 s. */
static void a_control_is_awaited_for_cpu_time(void **state)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };

	(void)state;
	SKIP_WITHOUT_PROVIDER();
	ofi_double.start = 20000;
	skip_ms = 3600000;
	probe(&report);
	assert_int_equal(report.ends, DAXPIN_OFI_ENDS_ENDPOINT);
}

/* The controls were connected, and the next write is not. */
static void a_round_that_is_not_connected_has_no_verdict(void **state)
{
	struct fixture *f = *state;

	SKIP_WITHOUT_PROVIDER();
	ofi_double.unconnected = 1 << 2;
	skip_idle_waits();
	check_trial_refuses(f, -EOPNOTSUPP, "did not arrive");
}

/* Of a device that has a name. The memory is longer than what a socket holds, so that a
 * part of each write is there at a close. */
static uint32_t try_device(void)
{
	const struct dp_errmsg none = { 0 };
	struct daxpin_ofi_report report = { .writer = DAXPIN_OFI_WRITER_RDMA };
	static char memory[DP_TRIAL_BYTES_MAX];
	bool kept = false;

	is_checked = true;
	info->nic = ofi_nic(nic_name);
	assert_int_equal(__real_dp_trial(fabric, info, memory, sizeof(memory), &report,
					 &none, &kept), 0);
	assert_false(kept);
	return report.ends;
}

/* After the close of a region nothing arrives, and a second write with its key fails,
 * too. Or it is not connected, so whether that key works is unknown. */
static void a_key_that_could_not_be_tried_was_not_refused(void **state)
{
	(void)state;
	SKIP_WITHOUT_PROVIDER();
	ofi_double.ends_access = true;
	skip_idle_waits();
	/* After the control, the fourth write is the second of which a part arrives. */
	ofi_double.disconnects = UINT64_MAX << 4;
	assert_int_equal(try_device(), DAXPIN_OFI_ENDS_UNKNOWN);
	ofi_double.post_error = -FI_ENOBUFS;
	assert_int_equal(try_device(), DAXPIN_OFI_ENDS_UNKNOWN);
	ofi_double.disconnects = 0;
	assert_int_equal(try_device(), DAXPIN_OFI_ENDS_REGION);
}

/* verbs cancels a request if an earlier one on the connection has failed. So the old
 * key is tried on another. */
static void a_request_that_was_not_carried_out_tried_no_key(void **state)
{
	(void)state;
	SKIP_WITHOUT_PROVIDER();
	ofi_double.ends_access = true;
	skip_idle_waits();
	ofi_double.old_key_error = FI_ECANCELED;
	assert_int_equal(try_device(), DAXPIN_OFI_ENDS_UNKNOWN);
	ofi_double.old_key_error = FI_EACCES;
	ofi_double.cancels = true;
	assert_int_equal(try_device(), DAXPIN_OFI_ENDS_REGION);
}

/* As on an emulated device. */
static void a_device_may_be_slow_to_refuse_a_write(void **state)
{
	(void)state;
	SKIP_WITHOUT_PROVIDER();
	ofi_double.ends_access = true;
	/* Longer than the trial waits for late bytes. */
	ofi_double.refusal_ms = 200;
	assert_int_equal(try_device(), DAXPIN_OFI_ENDS_REGION);
}

/* As with a registration cache. */
static void if_a_region_remains_the_endpoint_ends_access(void **state)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };
	struct daxpin_ofi *ofi = NULL;
	struct fixture *f = *state;

	SKIP_WITHOUT_PROVIDER();
	ofi_double.keeps_regions = true;
	trial_is_real = true;
	assert_int_equal(try_attach(f, &ofi), 0);
	trial_is_real = false;
	assert_int_equal(daxpin_ofi_report(ofi, &report), 0);
	assert_int_equal(report.ends, DAXPIN_OFI_ENDS_ENDPOINT);
	assert_true(report.region_late > 0);
	assert_int_equal(report.endpoint_late, 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* What is in a socket could be stored in one call, too, so a longer write is tried. */
static void a_short_write_that_arrives_at_once_shows_nothing(void **state)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };
	static char memory[1 << 20];

	(void)state;
	SKIP_WITHOUT_PROVIDER();
	ofi_double.at_once = sizeof(memory);
	skip_idle_waits();
	trial_is_real = true;
	assert_int_equal(daxpin_ofi_probe(fabric, info, memory, sizeof(memory),
					  &report), 0);
	assert_int_equal(report.ends, DAXPIN_OFI_ENDS_UNKNOWN);
	ofi_double.at_once = UINT64_MAX;
	assert_int_equal(daxpin_ofi_probe(fabric, info, memory, sizeof(memory),
					  &report), 0);
	trial_is_real = false;
	assert_int_equal(report.ends, DAXPIN_OFI_ENDS_ENDPOINT);
}

/* Of a device that has a name no endpoint is closed in the middle of a write, but what
 * arrives after all was closed is seen. */
static void bytes_after_the_close_of_all_keep_the_memory(void **state)
{
	const struct dp_errmsg none = { 0 };
	struct daxpin_ofi_report report = { .writer = DAXPIN_OFI_WRITER_RDMA };
	static char memory[1 << 20];
	bool kept = false;

	(void)state;
	SKIP_WITHOUT_PROVIDER();
	is_checked = true;
	info->nic = ofi_nic(nic_name);
	ofi_double.keeps_regions = ofi_double.keeps_endpoints = true;
	ofi_double.stops_at_a_post = ofi_double.goes_on = true;
	ofi_double.lively = 1;
	skip_idle_waits();
	assert_int_equal(__real_dp_trial(fabric, info, memory, sizeof(memory), &report,
					 &none, &kept), 0);
	assert_int_equal(report.ends, DAXPIN_OFI_ENDS_NOTHING);
	assert_true(report.endpoint_late > 0);
	assert_int_equal(report.region_late, 0);
}

/* In a child, because its pool cannot be closed. */
static int all_remains(void *arg)
{
	void *own = NULL;
	struct fixture *f;
	uint64_t before;

	(void)arg;
	assert_int_equal(fixture_setup(&own), 0);
	f = own;
	before = free_bytes(f);
	ofi_double.keeps_regions = true;
	ofi_double.keeps_endpoints = true;
	check_trial_refuses(f, -EOPNOTSUPP, "set FI_MR_CACHE_MAX_COUNT=0");
	assert_non_null(strstr(f->errmsg, "remain held"));
	assert_true(free_bytes(f) < before);
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	f->pool = NULL;
	return fixture_teardown(&own);
}

static void if_all_remains_the_memory_stays_held(void **state)
{
	(void)state;
	SKIP_WITHOUT_PROVIDER();
	assert_int_equal(run_child(all_remains, NULL), 0);
}

/* ------------------------------------------------------ what stores the bytes */

static void refuse_closes(size_t class, unsigned int count)
{
	ofi_double.refused_class = class;
	ofi_double.refusal = -FI_EIO;
	ofi_double.refusals = count;
}

/* words: of the sentence; NULL: a process does. */
static void check_writer(const char *words)
{
	char text[512] = "";
	const struct dp_errmsg errmsg = { text, sizeof(text) };
	struct daxpin_ofi_report report = { 0 };

	assert_int_equal(dp_trial_check_writer(info, fabric, &report, &errmsg),
			 words ? -EOPNOTSUPP : 0);
	if (words && !strstr(text, words))
		fail_msg("\"%s\" does not say \"%s\"", text, words);
}

/* Not asked by its name: this one is tcp. */
static void a_process_without_a_device_stores_the_bytes(void **state)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };

	(void)state;
	SKIP_WITHOUT_PROVIDER();
	free(info->fabric_attr->prov_name);
	info->fabric_attr->prov_name = strdup("verbs;ofi_rxm");
	check_writer(NULL);
	probe(&report);
	assert_int_equal(report.writer, DAXPIN_OFI_WRITER_PROCESS);
	assert_non_null(strstr(report.writer_what, "no device open"));
	assert_int_equal(report.ends, DAXPIN_OFI_ENDS_ENDPOINT);
	info->domain_attr->mr_mode |= FI_MR_ALLOCATED;
	check_writer("FI_MR_ALLOCATED");
}

/* Nothing shows whether the provider uses it. */
static void with_a_device_open_no_memory_of_the_pool_is_used(void **state)
{
	struct fixture *f = *state;
	const uint64_t before = free_bytes(f);

	SKIP_WITHOUT_PROVIDER();
	has_device = true;
	check_trial_refuses(f, -EOPNOTSUPP, "/dev/infiniband/uverbs0");
	assert_non_null(strstr(f->errmsg, "the test's reason"));
	assert_non_null(strstr(f->errmsg, "InaccessiblePaths=/dev/infiniband of systemd"));
	assert_int_equal(trials, 0);
	assert_int_equal(free_bytes(f), before);
}

static void a_device_that_the_first_transfer_opens_is_seen(void **state)
{
	struct fixture *f = *state;
	const uint64_t before = free_bytes(f);
	struct daxpin_ofi *ofi = NULL;

	SKIP_WITHOUT_PROVIDER();
	if (!ofi_double_has_device()) {
		print_message("skipped: neither /dev/fuse nor /dev/net/tun can be opened\n");
		skip();
	}
	ofi_double.opens_a_device = true;
	assert_int_equal(try_attach(f, &ofi), -EOPNOTSUPP);
	assert_non_null(strstr(f->errmsg, "attach before the program opens it"));
	assert_int_equal(trials, 0);
	assert_int_equal(free_bytes(f), before);
}

/* hfi1 and cxi have a device with a name, and no verbs context. */
static void a_named_device_is_rdma_if_it_has_a_verbs_context(void **state)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };

	(void)state;
	SKIP_WITHOUT_PROVIDER();
	info->nic = ofi_nic(nic_name);
	probe(&report);
	assert_int_equal(report.writer, DAXPIN_OFI_WRITER_DEVICE);
	assert_non_null(strstr(report.writer_what, "no verbs context open"));
	assert_non_null(strstr(report.writer_what, DP_PROVIDER_CURE));
	check_writer("no verbs context open");
	is_checked = true;
	check_writer(NULL);
	check_error = -EMFILE;
	check_writer("the test's reason");
}

/* A check that fails later than the first says why, with its errno. */
static void a_peer_without_a_known_context_is_refused_with_the_reason(void **state)
{
	struct daxpin_ofi_peer_options options = { .size = sizeof(options) };
	struct daxpin_ofi_peer *peer = NULL;
	struct fixture *f = *state;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	assert_int_equal(try_attach(f, &ofi), 0);
	ofi->info->nic = ofi_nic(nic_name);
	options.errmsg = f->errmsg;
	options.errmsg_size = sizeof(f->errmsg);
	is_checked = true;
	check_error = -EMFILE;
	assert_int_equal(daxpin_ofi_peer_open(ofi, &options, &peer), -EMFILE);
	assert_string_equal(f->errmsg, "the test's reason");
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

static void an_attach_is_refused_if_the_devices_cannot_be_listed(void **state)
{
	struct fixture *f = *state;

	SKIP_WITHOUT_PROVIDER();
	device_error = -EMFILE;
	check_trial_refuses(f, -EOPNOTSUPP, "cannot be read");
	assert_int_equal(trials, 0);
}

/* A file of a driver that any user may open, and that is neither memory nor a
 * terminal. */
static void an_open_device_file_is_found(void **state)
{
	static const char *const paths[] = { "/dev/fuse", "/dev/net/tun" };
	struct dp_device_found found;
	int fd = -1;

	(void)state;
	assert_int_equal(__real_dp_provider_find_device(&found), 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && fd < 0; i++)
		fd = open(paths[i], O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		print_message("skipped: neither /dev/fuse nor /dev/net/tun can be opened\n");
		skip();
	}
	assert_int_equal(__real_dp_provider_find_device(&found), 1);
	assert_int_equal(strncmp(found.name, "/dev/", 5), 0);
	assert_int_equal(found.reason[0], '\0');
	close(fd);
	assert_int_equal(__real_dp_provider_find_device(&found), 0);
}

/* What the kernel would show of an RDMA device: the link of its file's directory in
 * sysfs, and the contexts and domains. */
static char uverbs_link[64];
static struct daxpin_rdma_use use;
static int use_error;

ssize_t __real_readlink(const char *path, char *target, size_t size);
__attribute__((visibility("default")))
ssize_t __wrap_readlink(const char *path, char *target, size_t size);

ssize_t __wrap_readlink(const char *path, char *target, size_t size)
{
	if (strcmp(path, uverbs_link))
		return __real_readlink(path, target, size);
	return snprintf(target, size, "../../class/infiniband_verbs");
}

static bool kernel_has_rdma;

int __real_access(const char *path, int mode);
__attribute__((visibility("default")))
int __wrap_access(const char *path, int mode);

int __wrap_access(const char *path, int mode)
{
	if (strcmp(path, "/sys/class/infiniband"))
		return __real_access(path, mode);
	return kernel_has_rdma ? 0 : -1;
}

int __wrap_daxpin_rdma_use(char *errmsg, size_t errmsg_size,
			   struct daxpin_rdma_use *ret_use);

int __wrap_daxpin_rdma_use(char *errmsg, size_t errmsg_size,
			   struct daxpin_rdma_use *ret_use)
{
	snprintf(errmsg, errmsg_size, "%s", use_error ? "the kernel's reason" : "");
	*ret_use = use;
	return use_error;
}

static void expect_uverbs(int result, const char *words)
{
	struct dp_device_found found;

	assert_int_equal(__real_dp_provider_find_device(&found), result);
	if (words && !strstr(found.reason, words))
		fail_msg("\"%s\" does not say \"%s\"", found.reason, words);
}

static void an_rdma_device_counts_unless_nothing_is_registered_with_it(void **state)
{
	static const char *const paths[] = { "/dev/fuse", "/dev/net/tun" };
	struct stat st;
	int fd = -1, other;

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && fd < 0; i++)
		fd = open(paths[i], O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		print_message("skipped: neither /dev/fuse nor /dev/net/tun can be opened\n");
		skip();
	}
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(uverbs_link, sizeof(uverbs_link), "/sys/dev/char/%u:%u/subsystem",
		 major(st.st_rdev), minor(st.st_rdev));
	use.contexts = 1;
	expect_uverbs(0, NULL);
	use.domains = 2;
	expect_uverbs(1, "(protection domains: 2;");
	use.domains = 0;
	use.unknown = 1;
	expect_uverbs(1, "protection domains in use (1) may be its own");
	use.unknown = 0;
	use_error = -EOPNOTSUPP;
	expect_uverbs(1, "the kernel's reason");
	use_error = 0;
	other = dup(fd);
	expect_uverbs(1, "it has 2 uverbs files, and its living threads opened 1 contexts");
	close(other);
	expect_uverbs(0, NULL);
	use_error = -ENOMEM;
	expect_uverbs(-ENOMEM, NULL);
	close(fd);
}

/* Without a file of it a device counts if memory is known to be registered: a child may
 * keep a context open that this process has closed. */
static void a_context_that_another_process_keeps_open_counts(void **state)
{
	(void)state;
	use.unknown = 1;
	expect_uverbs(0, NULL);
	use_error = -EOPNOTSUPP;
	expect_uverbs(0, NULL);
	use_error = 0;
	use.domains = 1;
	expect_uverbs(1, "end the process that keeps it open");
	kernel_has_rdma = false;
	expect_uverbs(0, NULL);
}

/* /dev/mem, kmem and port reach the registers of devices, and oldmem the memory of
 * another kernel. */
static void of_the_memory_devices_those_that_reach_others_count(void **state)
{
	static const unsigned int devices[] = { 1, 2, 4, 12 };
	static const unsigned int memory[] = { 3, 5, 7, 8, 9, 11 };
	struct statx st = { .stx_mode = S_IFCHR, .stx_rdev_major = 1 };

	(void)state;
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		st.stx_rdev_minor = devices[i];
		assert_false(dp_provider_is_harmless(&st, DP_IGNORE_HARMLESS));
		assert_false(dp_provider_is_harmless(&st, DP_IGNORE_RDMA));
	}
	for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++) {
		st.stx_rdev_minor = memory[i];
		assert_true(dp_provider_is_harmless(&st, DP_IGNORE_HARMLESS));
	}
}

/* What is found in one line of /proc/self/maps. */
static int find_mapped(const char *path, char *name, size_t size)
{
	char text[256];
	FILE *maps;
	int ret;

	snprintf(text, sizeof(text),
		 "7f00-7f01 rw-s 00000000 00:05 12    %s\n7f01-7f02 rw-p 00000000 00:00 0\n",
		 path);
	maps = fmemopen(text, strlen(text), "r");
	assert_non_null(maps);
	ret = dp_provider_find_mapped(maps, name, size);
	fclose(maps);
	return ret;
}

static void a_mapped_device_is_found(void **state)
{
	static const struct { const char *path; int found; } cases[] = {
		{ "/dev/null", 0 }, { "/dev/zero", 0 }, { "/dev/full", 0 },
		{ "/dev/zero (deleted)", 0 }, { "/dev/shm/pool (deleted)", 0 },
		{ "/memfd:pool (deleted)", 0 }, { "/proc/self/exe", 0 },
		{ "[heap]", 0 }, { "/usr/lib/old.so (deleted)", 0 },
		{ "/dev/infiniband/uverbs99 (deleted)", 1 },
		{ "/dev/zero0 (deleted)", 1 }, { "/dev/no-such-device", 1 },
		{ "/no-such-directory/file", 1 }, { "/proc/self/exe/file", 1 },
	};
	char name[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (find_mapped(cases[i].path, name, sizeof(name)) != cases[i].found)
			fail_msg("%s", cases[i].path);
		if (cases[i].found)
			assert_string_equal(name, cases[i].path);
	}
}

static void unreadable_mappings_are_not_none(void **state)
{
	FILE *maps = fopen("/dev/null", "we");
	char name[128];

	(void)state;
	assert_non_null(maps);
	assert_int_equal(dp_provider_find_mapped(maps, name, sizeof(name)), -EIO);
	fclose(maps);
}

static void what_a_probe_refuses(void **state)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };
	static char memory[1 << 20];

	(void)state;
	SKIP_WITHOUT_PROVIDER();
	assert_int_equal(daxpin_ofi_probe(NULL, info, memory, sizeof(memory),
					  &report), -EINVAL);
	assert_int_equal(daxpin_ofi_probe(fabric, NULL, memory, sizeof(memory),
					  &report), -EINVAL);
	assert_int_equal(daxpin_ofi_probe(fabric, info, NULL, sizeof(memory),
					  &report), -EINVAL);
	assert_int_equal(daxpin_ofi_probe(fabric, info, memory,
					  sizeof(memory) - 1, &report), -EINVAL);
	assert_int_equal(daxpin_ofi_probe(fabric, info, memory, sizeof(memory),
					  NULL), -EINVAL);
	info->caps &= ~FI_RMA;
	assert_int_equal(daxpin_ofi_probe(fabric, info, memory, sizeof(memory),
					  &report), -EOPNOTSUPP);
}

/* --------------------------------------------------- refusals of the provider */

static struct daxpin_ofi *attach(struct fixture *f)
{
	struct daxpin_ofi *ofi = NULL;

	if (try_attach(f, &ofi))
		fail_msg("%s", f->errmsg);
	return ofi;
}

static struct daxpin_ofi_peer *open_peer(struct daxpin_ofi *ofi)
{
	struct daxpin_ofi_peer *peer = NULL;

	assert_int_equal(daxpin_ofi_peer_open(ofi, NULL, &peer), 0);
	return peer;
}

static void count_done(void *arg, int result)
{
	int *done = arg;

	assert_int_equal(result, 0);
	(*done)++;
}

static int give(struct fixture *f, struct daxpin_ofi_peer *peer,
		struct daxpin_extent extent, int *done,
		struct daxpin_ofi_grant **ret_grant)
{
	const struct daxpin_ofi_grant_options options = {
		.size = sizeof(options), .access = FI_REMOTE_WRITE,
		.done = count_done, .arg = done,
		.errmsg = f->errmsg, .errmsg_size = sizeof(f->errmsg),
	};

	return daxpin_ofi_grant(peer, extent, &options, ret_grant);
}

static struct daxpin_ofi_info figures(struct daxpin_ofi *ofi)
{
	struct daxpin_ofi_info about = { .size = sizeof(about) };

	assert_int_equal(daxpin_ofi_info(ofi, &about), 0);
	return about;
}

static void a_region_that_is_neither_opened_nor_closed_is_quarantined(void **state)
{
	struct daxpin_ofi_grant *one = NULL;
	struct daxpin_ofi_peer *peer;
	struct daxpin_extent extent;
	struct fixture *f = *state;
	struct daxpin_ofi *ofi;
	int done = 0;

	SKIP_WITHOUT_PROVIDER();
	info->domain_attr->mr_mode |= FI_MR_ENDPOINT;
	ofi = attach(f);
	peer = open_peer(ofi);
	extent = reserve(f, BYTES);
	ofi_double.bind_error = -FI_ENOSPC;
	/* If it can be closed, nothing remains. */
	assert_int_equal(give(f, peer, extent, &done, &one), -FI_ENOSPC);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(figures(ofi).granted, 0);
	refuse_closes(FI_CLASS_MR, 2);
	assert_int_equal(give(f, peer, extent, &done, &one), -FI_ENOSPC);
	assert_null(one);
	assert_non_null(strstr(f->errmsg, "quarantined"));
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(figures(ofi).quarantined, 1);
	assert_int_equal(daxpin_ofi_peer_close(peer), -FI_EIO);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(ofi_double.refusals, 0);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 1);
	assert_int_equal(figures(ofi).granted, 1);
	assert_int_equal(figures(ofi).ended, 1);
	assert_int_equal(done, 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

static void an_endpoint_neither_opened_nor_closed_delays_the_detach(void **state)
{
	struct daxpin_ofi_peer *peer = NULL;
	struct fixture *f = *state;
	struct daxpin_ofi *ofi;

	SKIP_WITHOUT_PROVIDER();
	ofi = attach(f);
	ofi_double.endpoint_error = -FI_ENOSPC;
	assert_int_equal(daxpin_ofi_peer_open(ofi, NULL, &peer), -FI_ENOSPC);
	assert_int_equal(figures(ofi).peers, 0);
	refuse_closes(FI_CLASS_DOMAIN, 2);
	assert_int_equal(daxpin_ofi_peer_open(ofi, NULL, &peer), -FI_ENOSPC);
	assert_null(peer);
	assert_int_equal(figures(ofi).peers, 1);
	ofi_double.endpoint_error = 0;
	peer = open_peer(ofi);
	assert_int_equal(daxpin_ofi_service(ofi), 0);
	/* One error, of the peer that the program has, or of the close. */
	assert_int_equal(daxpin_ofi_detach(ofi), -EBUSY);
	assert_int_equal(ofi_double.refusals, 0);
	assert_int_equal(figures(ofi).peers, 2);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* In a child, because its pool cannot be closed. */
static int trial_does_not_end(void *arg)
{
	struct daxpin_ofi_report report = { .size = sizeof(report) };
	static char memory[1 << 20];
	void *own = NULL;
	struct fixture *f;
	uint64_t before;

	(void)arg;
	assert_int_equal(fixture_setup(&own), 0);
	f = own;
	before = free_bytes(f);
	refuse_closes(FI_CLASS_MR, 1000);
	/* Those before the trial: no memory of the pool is concerned. */
	check_trial_refuses(f, -FI_EIO, "cannot be found out");
	assert_int_equal(trials, 0);
	assert_int_equal(free_bytes(f), before);
	ofi_double.accepted = 2;
	check_trial_refuses(f, -FI_EIO, "remain held");
	assert_true(free_bytes(f) < before);
	/* An error before that has its own sentence. */
	trial_error = -EMFILE;
	ofi_double.accepted = 2;
	check_trial_refuses(f, -EMFILE, "the test's reason; an object of the trial");
	trial_error = 0;
	assert_int_equal(daxpin_pool_close(f->pool), -EBUSY);
	trial_is_real = true;
	ofi_double.accepted = 2;
	assert_int_equal(daxpin_ofi_probe(fabric, info, memory, sizeof(memory),
					  &report), -EBUSY);
	f->pool = NULL;
	return fixture_teardown(&own);
}

static void memory_of_a_trial_that_does_not_end_remains_held(void **state)
{
	(void)state;
	SKIP_WITHOUT_PROVIDER();
	assert_int_equal(run_child(trial_does_not_end, NULL), 0);
}

static void a_grant_over_the_limit_of_regions_changes_nothing(void **state)
{
	struct daxpin_ofi_grant *grants[2], *more = NULL;
	struct daxpin_extent extents[3];
	struct daxpin_ofi_peer *peers[2];
	struct fixture *f = *state;
	struct daxpin_ofi *ofi;
	int done = 0;

	SKIP_WITHOUT_PROVIDER();
	ofi_double.regions_max = 2;
	ofi = attach(f);
	for (int i = 0; i < 2; i++) {
		peers[i] = open_peer(ofi);
		extents[i] = reserve(f, BYTES);
		assert_int_equal(give(f, peers[i], extents[i], &done, &grants[i]),
				 0);
	}
	extents[2] = reserve(f, BYTES);
	assert_int_equal(give(f, peers[0], extents[2], &done, &more), -FI_ENOSPC);
	assert_non_null(strstr(f->errmsg, "65536 bytes"));
	assert_null(more);
	assert_int_equal(daxpin_idle(f->pool, extents[2]), 1);
	assert_int_equal(figures(ofi).grants, 2);
	/* When another has ended, it succeeds. */
	assert_int_equal(daxpin_ofi_revoke(grants[1]), 0);
	assert_int_equal(give(f, peers[0], extents[2], &done, &more), 0);
	assert_int_equal(daxpin_ofi_peer_close(peers[0]), 0);
	assert_int_equal(daxpin_ofi_peer_close(peers[1]), 0);
	assert_int_equal(done, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(daxpin_cancel(f->pool, extents[i]), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
}

/* Two pools, and two attachments to one of them. */
static void an_attachment_knows_only_its_own_grants(void **state)
{
	struct daxpin_ofi_grant *one = NULL, *more = NULL;
	struct daxpin_ofi_peer *peer, *strange;
	struct daxpin_ofi *ofi, *others[2];
	struct fixture *f = *state, *g;
	struct daxpin_extent extent;
	struct daxpin_ofi_key key;
	void *second = NULL;
	int done = 0;

	SKIP_WITHOUT_PROVIDER();
	assert_int_equal(fixture_setup(&second), 0);
	g = second;
	ofi = attach(f);
	others[0] = attach(g);
	others[1] = attach(f);
	peer = open_peer(ofi);
	extent = reserve(f, BYTES);
	assert_int_equal(give(f, peer, extent, &done, &one), 0);
	daxpin_ofi_grant_key(one, &key);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daxpin_ofi_returned(others[i], &key), -ESTALE);
	/* The extent of one pool in the other: the generation differs. */
	strange = open_peer(others[0]);
	assert_int_not_equal(give(g, strange, extent, &done, &more), 0);
	assert_null(more);
	assert_int_equal(daxpin_ofi_peer_close(strange), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(daxpin_ofi_detach(others[i]), 0);
	assert_int_equal(done, 0);
	assert_int_equal(daxpin_idle(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_returned(ofi, &key), 0);
	assert_int_equal(daxpin_ofi_service(ofi), 0);
	assert_int_equal(done, 1);
	assert_int_equal(daxpin_ofi_peer_close(peer), 0);
	assert_int_equal(daxpin_cancel(f->pool, extent), 0);
	assert_int_equal(daxpin_ofi_detach(ofi), 0);
	assert_int_equal(fixture_teardown(&second), 0);
}

/* ------------------------------------------------------------- the program */

static int setup(void **state)
{
	has_device = false;
	device_error = 0;
	is_checked = false;
	check_error = 0;
	trials = 0;
	skip_ms = skip_cpu_ms = 0;
	uverbs_link[0] = '\0';
	kernel_has_rdma = true;
	use = (struct daxpin_rdma_use) { 0 };
	use_error = 0;
	provider = PROVIDER;
	info = ofi_find(provider, 0);
	if (info) {
		fabric = ofi_double_open(info);
		assert_non_null(fabric);
	}
	return fixture_setup(state);
}

static int teardown(void **state)
{
	if (info) {
		assert_int_equal(ofi_double_close(), 0);
		fi_freeinfo(info);
	}
	return fixture_teardown(state);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_provider_without_progress_has_no_verdict),
		TEST(a_provider_that_stops_after_a_post_has_no_verdict),
		TEST(a_trial_whose_control_fails_has_no_verdict),
		TEST(without_a_write_that_was_partly_there_there_is_no_verdict),
		TEST(a_wait_without_time_makes_its_steps),
		TEST(a_control_is_awaited_for_cpu_time),
		TEST(a_round_that_is_not_connected_has_no_verdict),
		TEST(a_key_that_could_not_be_tried_was_not_refused),
		TEST(a_request_that_was_not_carried_out_tried_no_key),
		TEST(a_device_may_be_slow_to_refuse_a_write),
		TEST(if_a_region_remains_the_endpoint_ends_access),
		TEST(a_short_write_that_arrives_at_once_shows_nothing),
		TEST(bytes_after_the_close_of_all_keep_the_memory),
		TEST(a_named_device_is_rdma_if_it_has_a_verbs_context),
		TEST(a_peer_without_a_known_context_is_refused_with_the_reason),
		TEST(if_all_remains_the_memory_stays_held),
		TEST(a_process_without_a_device_stores_the_bytes),
		TEST(with_a_device_open_no_memory_of_the_pool_is_used),
		TEST(an_attach_is_refused_if_the_devices_cannot_be_listed),
		TEST(an_open_device_file_is_found),
		TEST(an_rdma_device_counts_unless_nothing_is_registered_with_it),
		TEST(a_context_that_another_process_keeps_open_counts),
		TEST(a_device_that_the_first_transfer_opens_is_seen),
		TEST(of_the_memory_devices_those_that_reach_others_count),
		TEST(a_mapped_device_is_found),
		TEST(unreadable_mappings_are_not_none),
		TEST(a_region_that_is_neither_opened_nor_closed_is_quarantined),
		TEST(an_endpoint_neither_opened_nor_closed_delays_the_detach),
		TEST(a_grant_over_the_limit_of_regions_changes_nothing),
		TEST(an_attachment_knows_only_its_own_grants),
		TEST(what_a_probe_refuses),
		TEST(memory_of_a_trial_that_does_not_end_remains_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
