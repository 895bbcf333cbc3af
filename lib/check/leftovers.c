/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The same questions as those of an open for writing, without the wait: is the lock of
 * each file free, and which recorded verbs contexts does the kernel still have? If a
 * lock is not free, a search of /proc finds the processes that keep it, and only those
 * (W18). No decision depends on this report.
 *
 * What cannot be determined is an entry of its own (W11). What /proc does not show
 * matters only while a lock is not free.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include "check/leftovers.h"
#include "os/os.h"
#include "os/process.h"
#include "owner/lock_holder.h"
#include "owner/owner.h"
#include "owner/rdma_netlink.h"

#define NAME_SIZE	32
#define WHO_SIZE	64
#define SENTENCE_SIZE	800
#define INITIAL_PID_NAMESPACE	0xEFFFFFFCu	/* the kernel's PROC_PID_INIT_INO */

__attribute__((format(printf, 3, 4)))
static void leftovers_add(struct dp_leftovers *leftovers,
			  struct daxpin_leftover leftover, const char *format, ...)
{
	char sentence[SENTENCE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	leftover.size = sizeof(leftover);
	leftover.sentence = sentence;
	if (!leftover.device)
		leftover.device = "";
	leftovers->count++;
	leftovers->fn(&leftover, leftovers->arg);
}

static void leftovers_add_unknown(struct dp_leftovers *leftovers, const char *sentence)
{
	leftovers_add(leftovers, (struct daxpin_leftover) {
		.kind = DAXPIN_LEFTOVER_UNKNOWN, .fd = -1 }, "%s", sentence);
}

/* "process 7 (name)" */
static const char *leftovers_name(int pid, char who[WHO_SIZE])
{
	char path[32], name[NAME_SIZE];
	int length;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	length = dp_os_read_file(path, name, sizeof(name));
	if (length > 0 && name[length - 1] == '\n')
		length--;
	if (length > 0)
		snprintf(who, WHO_SIZE, "process %d (%.*s)", pid, length, name);
	else
		snprintf(who, WHO_SIZE, "process %d", pid);
	return who;
}

/* ------------------------------------------------------------ the locks' users */

static void leftovers_add_use(struct dp_leftovers *leftovers,
			      const struct dp_lock_use *use)
{
	static const struct {
		enum daxpin_leftover_kind kind;
		int certain;
		const char *what;
	} uses[DP_LOCK_USES] = {
		[DP_LOCK_USE_DESCRIPTOR] = { DAXPIN_LEFTOVER_DESCRIPTOR, 1,
			"locked file(s) of the pool open, as the owner's child or because they were sent to it: end it, or close them there" },
		[DP_LOCK_USE_MAPPING] = { DAXPIN_LEFTOVER_MAPPING, 1,
			"mapping(s) of the pool's files, which a forked child inherits: end it" },
		[DP_LOCK_USE_RING] = { DAXPIN_LEFTOVER_RING, 1,
			"file(s) of the pool in the file table of a ring: close the ring, or end the process" },
		[DP_LOCK_USE_RING_PERHAPS] = { DAXPIN_LEFTOVER_RING, 0,
			"file(s) with the name of a segment in the file table of a ring, and of which pool cannot be seen from here: if it is this pool's, close the ring, or end the process" },
		[DP_LOCK_USE_SOCKET] = { DAXPIN_LEFTOVER_SOCKET, 0,
			"socket(s) with descriptors in the queue, which may be the pool's files: if they are, close the socket, or end the process" },
	};
	char who[WHO_SIZE], at[32] = "", thread[32] = "";

	leftovers->certain += uses[use->kind].certain;
	if (use->fd >= 0)
		snprintf(at, sizeof(at), " (descriptor %d)", use->fd);
	if (use->fd >= 0 && use->thread != use->pid)
		snprintf(thread, sizeof(thread), "thread %d of ", use->thread);
	leftovers_add(leftovers, (struct daxpin_leftover) {
		.kind = uses[use->kind].kind, .certain = uses[use->kind].certain,
		.pid = use->pid, .fd = use->fd, .count = use->count,
		.segment = use->file }, "%s%s%s has %u %s", thread,
		      leftovers_name(use->pid, who), at, use->count,
		      uses[use->kind].what);
}

/* Every owner has such a socket, so sockets are listed only if nothing else is. */
static int leftovers_keep_socket(struct dp_leftovers *leftovers,
				 const struct dp_lock_use *use)
{
	const size_t count = leftovers->sockets + 1u;
	struct dp_lock_use *all = realloc(leftovers->socket, count * sizeof(*all));

	if (!all)
		return 1;
	leftovers->socket = all;
	all[leftovers->sockets++] = *use;
	return 0;
}

/* 1: memory ran out. */
static int leftovers_note_use(const struct dp_lock_use *use, void *arg)
{
	if (use->kind == DP_LOCK_USE_SOCKET)
		return leftovers_keep_socket(arg, use);
	leftovers_add_use(arg, use);
	return 0;
}

static void leftovers_add_sockets(struct dp_leftovers *leftovers)
{
	for (uint32_t i = 0; !leftovers->certain && i < leftovers->sockets; i++)
		leftovers_add_use(leftovers, &leftovers->socket[i]);
	free(leftovers->socket);
	leftovers->socket = NULL;
	leftovers->sockets = 0;
}

/* The requests of a ring that no process has any more are in no list of the kernel. */
static void leftovers_add_requests(struct dp_leftovers *leftovers)
{
	leftovers_add(leftovers, (struct daxpin_leftover) {
		.kind = DAXPIN_LEFTOVER_REQUESTS, .fd = -1, .certain = 1,
		.count = leftovers->locked, .segment = leftovers->locked_first },
		"the locks of %u file(s), the first of segment %u, are kept, and by no process that was found: requests of a ring that its process left behind keep them, and end by themselves, or a process that is invisible from here",
		leftovers->locked, leftovers->locked_first);
}

static void leftovers_add_unseen(struct dp_leftovers *leftovers,
				 const struct dp_lock_unseen *unseen)
{
	char sentence[SENTENCE_SIZE];
	struct stat stat;

	if (unseen->processes) {
		snprintf(sentence, sizeof(sentence),
			 "%u process(es) could not be examined, the first because of /proc/%d/task: %s%s: run this as root with CAP_SYS_PTRACE, and again if memory or descriptors ran out",
			 unseen->processes, unseen->pid, strerror(-unseen->error),
			 unseen->error == -EPERM ?
			 " (/proc is mounted with hidepid, or a security policy refuses it)" :
			 "");
		leftovers_add_unknown(leftovers, sentence);
	}
	if (unseen->cut) {
		snprintf(sentence, sizeof(sentence),
			 "the mappings, or the file table of a ring, of %u process(es) were read in part, because they have over 64 MiB as text or because memory ran out: run this again with more memory, and look for the pool's files in `grep -l NAME /proc/[0-9]*/maps`",
			 unseen->cut);
		leftovers_add_unknown(leftovers, sentence);
	}
	if (unseen->rings) {
		snprintf(sentence, sizeof(sentence),
			 "the kernel did not show the file tables of %u ring(s) of this machine, which a thread (for example that of SQPOLL) may be using, or whose slots are empty: run this again, or end their processes (`ls -l /proc/[0-9]*/fd | grep io_uring`)",
			 unseen->rings);
		leftovers_add_unknown(leftovers, sentence);
	}
	if (!dp_os_pid_exists(1) || dp_os_stat("/proc/1", &stat))
		leftovers_add_unknown(leftovers, "/proc does not show the processes of other users (hidepid): run this as root, with a /proc that is mounted without it");
	if (dp_os_stat("/proc/self/ns/pid", &stat) ||
	    stat.st_ino != INITIAL_PID_NAMESPACE)
		leftovers_add_unknown(leftovers, "processes of other pid namespaces are invisible from this one: run this on the host");
}

static int leftovers_search(struct dp_leftovers *leftovers)
{
	const struct dp_source *source = &leftovers->image->pool.source;
	const char *slash = strrchr(source->path, '/');
	char name[DP_SEGMENT_NAME_SIZE], sentence[SENTENCE_SIZE];
	struct dp_lock_unseen unseen;
	struct dp_lock_files files = {
		.file = leftovers->file, .patient = true,
		.count = leftovers->image->pool.super.segments,
		.name = slash ? slash + 1 : source->path,
	};
	int ret;

	if (source->kind == DP_SOURCE_DEVDAX) {
		files.count = 1;
	} else {
		dp_source_segment_name(0, name);
		files.name = name;
	}
	ret = dp_lock_holder_list(&files, leftovers_note_use, leftovers, &unseen);
	leftovers_add_sockets(leftovers);
	if (ret == -ENOMEM || ret > 0)
		return -ENOMEM;
	if (!leftovers->certain)
		leftovers_add_requests(leftovers);
	if (ret < 0) {
		snprintf(sentence, sizeof(sentence),
			 "/proc cannot be read (%s), so no process could be examined: mount it, and run this again",
			 strerror(-ret));
		leftovers_add_unknown(leftovers, sentence);
		return 0;
	}
	leftovers_add_unseen(leftovers, &unseen);
	return 0;
}

/* ------------------------------------------------------------------ the locks */

static void leftovers_note_file(struct dp_leftovers *leftovers, uint32_t index,
				const struct dp_file *file, bool is_locked)
{
	struct stat stat;

	if (!dp_os_fstat(dp_file_fd(file), &stat))
		leftovers->file[index] =
			(struct dp_lock_file) { stat.st_dev, stat.st_ino };
	if (!is_locked)
		return;
	if (!leftovers->locked++)
		leftovers->locked_first = index;
}

/* The lock of a later file: a file that cannot be opened is reported, and the others
 * are examined. */
static int leftovers_look_at_file(struct dp_leftovers *leftovers, uint32_t index)
{
	char text[SENTENCE_SIZE] = "", sentence[SENTENCE_SIZE + 64];
	const struct dp_errmsg errmsg = { text, sizeof(text) };
	struct dp_file file;
	int ret = dp_file_open(&file, &leftovers->image->pool.source, index,
			       DP_FILE_READ, &errmsg);

	if (ret == -ENOMEM)
		return ret;
	if (ret) {
		snprintf(sentence, sizeof(sentence),
			 "segment %u cannot be examined: %s", index,
			 text[0] ? text : strerror(-ret));
		leftovers_add_unknown(leftovers, sentence);
		return 0;
	}
	leftovers_note_file(leftovers, index, &file, dp_file_is_locked(&file));
	dp_file_close(&file);
	return 0;
}

static int leftovers_of_locks(struct dp_leftovers *leftovers, bool first_is_locked)
{
	const struct dp_pool *pool = &leftovers->image->pool;
	int ret = 0;

	leftovers->file = calloc(pool->super.segments, sizeof(*leftovers->file));
	if (!leftovers->file)
		return -ENOMEM;
	leftovers_note_file(leftovers, 0, &pool->first, first_is_locked);
	if (pool->source.kind != DP_SOURCE_DEVDAX)
		for (uint32_t i = 1; !ret && i < pool->super.segments; i++)
			ret = leftovers_look_at_file(leftovers, i);
	if (!ret && leftovers->locked)
		ret = leftovers_search(leftovers);
	free(leftovers->file);
	leftovers->file = NULL;
	return ret;
}

/* ------------------------------------------------------------- verbs contexts */

static void leftovers_add_context(const struct dp_rdma_context *context,
				  const char *device, const struct dp_verbs_seen *seen,
				  void *arg)
{
	struct daxpin_leftover leftover = {
		.kind = DAXPIN_LEFTOVER_CONTEXT, .certain = 1, .fd = -1, .count = 1,
		.pid = (int)seen->maker, .device = device, .context = context->number,
	};
	char who[WHO_SIZE];

	if (seen->state == DP_VERBS_REMOVING)
		leftovers_add(arg, leftover,
			      "verbs context %u of %s, which is being removed, may still exist: end the programs that `grep -l uverbs /proc/[0-9]*/maps` lists",
			      context->number, device);
	else if (seen->maker)
		leftovers_add(arg, leftover,
			      "verbs context %u of %s exists, and %s opened it: end it",
			      context->number, device,
			      leftovers_name((int)seen->maker, who));
	else
		leftovers_add(arg, leftover,
			      "verbs context %u of %s exists, and no living process of this pid namespace opened it: end the forked children or other processes that keep it (`grep -l uverbs /proc/[0-9]*/maps`), or wait, since the kernel may still be ending it",
			      context->number, device);
}

/* The record is lost, or has a context without a number. */
static void leftovers_of_any_context(struct dp_leftovers *leftovers,
				     const struct dp_errmsg *errmsg)
{
	char sentence[SENTENCE_SIZE];
	int count = dp_verbs_count_all(errmsg);

	if (count < 0) {
		leftovers_add_unknown(leftovers, errmsg->text);
	} else if (count) {
		snprintf(sentence, sizeof(sentence),
			 "which verbs contexts the owner had is not on record, and any of the %d of this machine may be its own: end the programs that `rdma resource show ctx` lists",
			 count);
		leftovers_add_unknown(leftovers, sentence);
	}
}

static int leftovers_of_rdma(struct dp_leftovers *leftovers)
{
	const struct dp_super *super = &leftovers->image->pool.super;
	char text[SENTENCE_SIZE] = "";
	const struct dp_errmsg errmsg = { text, sizeof(text) };
	int ret;

	if (!dp_super_is_unclean(super))
		return 0;
	leftovers->pid = super->owner.pid;
	if (super->flags & DP_SUPER_OWNER_UNKNOWN) {
		leftovers_of_any_context(leftovers, &errmsg);
		return 0;
	}
	if (!dp_owner_is_record(&super->owner)) {
		leftovers_add_unknown(leftovers, "the record of the pool's last owner has impossible values, so which verbs contexts it had is unknown: run `daxpin check`");
		return 0;
	}
	ret = dp_owner_list(&super->owner, leftovers_add_context, leftovers, &errmsg);
	if (ret == -ENOMEM)
		return ret;
	if (ret)
		leftovers_add_unknown(leftovers, text);
	if (super->owner.flags & DP_OWNER_RDMA_UNKNOWN &&
	    !dp_owner_is_over(&super->owner))
		leftovers_of_any_context(leftovers, &errmsg);
	return 0;
}

/* -------------------------------------------------------------------- the pool */

/* Read segment 0's superblock into pool->super. The mapping ends, because the search
 * would find it. */
static int leftovers_read_super(struct dp_image *image, const struct dp_errmsg *errmsg)
{
	struct dp_pool *pool = &image->pool;
	int ret = dp_pool_classify(pool);

	image->copy = ret ? NULL : malloc(DP_META_SIZE_MAX);
	if (!ret && !image->copy)
		ret = -ENOMEM;
	if (!ret)
		ret = dp_image_segment(image, 0, 0, errmsg);
	if (!ret)
		ret = dp_super_read(&image->view, true, &pool->super, errmsg);
	dp_image_end_segment(image);
	if (ret == -EMEDIUMTYPE)
		return dp_fail(errmsg, ret,
			       "%s has no superblock of a daxpin pool, so whether an owner has left anything behind is unknown: `daxpin check` reports what is there",
			       pool->source.path);
	return ret ? ret : dp_pool_check_super(pool, &pool->super, errmsg);
}

static int leftovers_in_use(int pid, const struct dp_errmsg *errmsg)
{
	char who[WHO_SIZE];

	if (!pid)
		return dp_fail(errmsg, -EBUSY,
			       "a living process of another pid namespace has the pool open, so it has no dead owner");
	return dp_fail(errmsg, -EBUSY, "%s has the pool open and lives, so it has no dead owner",
		       leftovers_name(pid, who));
}

static int leftovers_of_pool(struct dp_leftovers *leftovers,
			     struct dp_pool_request *request)
{
	struct dp_image *image = leftovers->image;
	enum dp_owner_state state;
	int pid, ret = dp_pool_open_first(&image->pool, request, DP_FILE_READ);

	if (ret)
		return ret;
	state = dp_file_find_owner(&image->pool.first, &pid);
	if (state == DP_OWNER_ALIVE)
		return leftovers_in_use(pid, request->errmsg);
	ret = leftovers_read_super(image, request->errmsg);
	if (!ret)
		ret = leftovers_of_locks(leftovers, state != DP_OWNER_NONE);
	return ret ? ret : leftovers_of_rdma(leftovers);
}

int dp_leftovers_list(struct dp_leftovers *leftovers, struct dp_pool_request *request)
{
	struct dp_image *image = calloc(1, sizeof(*image));
	int ret;

	if (!image)
		return -ENOMEM;
	image->segment_fd = -1;
	image->policy = &request->policy;
	leftovers->image = image;
	ret = dp_pool_begin(&image->pool, request, 0);
	if (!ret) {
		ret = leftovers_of_pool(leftovers, request);
		dp_image_close(image);
	}
	free(image);
	leftovers->image = NULL;
	return ret;
}
