/* SPDX-License-Identifier: BSD-3-Clause */
#include "ofi_double.h"

#include <fcntl.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEPT_MAX	1024
#define CLASSES		64

struct ofi_double ofi_double;

static struct fid_fabric *real_fabric;
static struct fid_fabric fabric;
static struct fi_ops_fabric fabric_ops;
static struct fi_info *real_info;	/* the test may change its own */

/* Of the real provider, by the class of an object; and the double's. */
static const struct fi_ops *real_ops[CLASSES];
static struct fi_ops ops[CLASSES];
static const struct fi_ops_domain *real_domain_ops;
static struct fi_ops_domain domain_ops;
static const struct fi_ops_mr *real_mr_ops;
static struct fi_ops_mr mr_ops;
static const struct fi_ops_cq *real_cq_ops;
static struct fi_ops_cq cq_ops;
static const struct fi_ops_rma *real_rma_ops;
static struct fi_ops_rma rma_ops;

static struct fid *kept[KEPT_MAX];
static unsigned int kept_count, regions;
/* Each region that was opened, and the domain in which it was opened last. */
static struct fid *region[KEPT_MAX], *region_domain[KEPT_MAX];
static bool has_stopped;
static bool is_closed;		/* the region that a peer can write to */
static bool has_failed;		/* the writer's queue has an error entry, */
static void *failed_context;	/* ... of this request, */
static int failed_error;	/* ... with this error, */
static bool is_renewed;		/* an endpoint was opened after the close */
static uint64_t refused_at;	/* ... from this time on */
static bool was_turned_away;	/* the last fi_write() */
static bool was_stored;		/* ... at once, and it has no completion */
static struct fid_cq *writer_cq;	/* the one that was opened last */
static unsigned int domains, delayed;	/* opened; reads that make no progress */
static unsigned int open_domains;
/* The region that a peer can write to, its memory, and what `at_once` stores there. */
static struct fid *target;
static void *target_memory;
static const void *posted;
static size_t posted_length;
static int device = -1;

/* ----------------------------------------------------------- of every object */

static bool keeps(const struct fid *fid)
{
	return fid->fclass == FI_CLASS_MR ? ofi_double.keeps_regions :
					    ofi_double.keeps_endpoints;
}

static struct fid *domain_of(const struct fid *fid)
{
	for (unsigned int i = 0; i < KEPT_MAX; i++)
		if (region[i] == fid)
			return region_domain[i];
	return NULL;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The writer's request will fail. */
static void refuse(int error)
{
	failed_error = error;
	has_failed = true;
	refused_at = now_ms() + ofi_double.refusal_ms;
}

/* As a registration cache does: its regions end with the domain. */
static void close_kept_regions(const struct fid *domain)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < kept_count; i++)
		if (kept[i]->fclass == FI_CLASS_MR && domain_of(kept[i]) == domain) {
			regions--;
			if (real_ops[FI_CLASS_MR]->close(kept[i]))
				abort();
		} else {
			kept[count++] = kept[i];
		}
	kept_count = count;
}

static int double_close(struct fid *fid)
{
	if (ofi_double.refusals && fid->fclass == ofi_double.refused_class) {
		if (!ofi_double.accepted) {
			ofi_double.refusals--;
			return ofi_double.refusal;
		}
		ofi_double.accepted--;
	}
	open_domains -= fid->fclass == FI_CLASS_DOMAIN;
	if (keeps(fid)) {
		if (kept_count == KEPT_MAX)
			abort();
		kept[kept_count++] = fid;
		return 0;
	}
	if (fid == target) {
		target = NULL;
		is_closed = true;
		refuse(FI_EIO);
	}
	if (fid->fclass == FI_CLASS_MR) {
		regions--;
		delayed = ofi_double.delay;
	}
	if (fid->fclass == FI_CLASS_DOMAIN)
		close_kept_regions(fid);
	return real_ops[fid->fclass]->close(fid);
}

static int double_bind(struct fid *fid, struct fid *to, uint64_t flags)
{
	if (fid->fclass == FI_CLASS_MR)
		return ofi_double.bind_error;
	return real_ops[fid->fclass]->bind(fid, to, flags);
}

static int double_control(struct fid *fid, int command, void *arg)
{
	if (fid->fclass == FI_CLASS_MR && command == FI_ENABLE)
		return 0;
	return real_ops[fid->fclass]->control(fid, command, arg);
}

static void take_over(struct fid *fid)
{
	if (fid->fclass >= CLASSES)
		abort();
	if (!real_ops[fid->fclass]) {
		real_ops[fid->fclass] = fid->ops;
		ops[fid->fclass] = *fid->ops;
		ops[fid->fclass].close = double_close;
		ops[fid->fclass].bind = double_bind;
		ops[fid->fclass].control = double_control;
	}
	fid->ops = &ops[fid->fclass];
}

/* ------------------------------------------------------------------- progress */

static void drive(struct fid_cq *cq)
{
	struct fi_cq_err_entry error = { 0 };
	struct fi_cq_entry entry;

	if (real_cq_ops->read(cq, &entry, 1) == -FI_EAVAIL)
		real_cq_ops->readerr(cq, &error, 0);
}

static void drive_kept(void)
{
	for (unsigned int i = 0; i < kept_count; i++)
		if (kept[i]->fclass == FI_CLASS_CQ)
			drive((struct fid_cq *)kept[i]);
}

void ofi_double_on_clock(void)
{
	if (ofi_double.goes_on && !open_domains)
		drive_kept();
}

static void store_at_once(void)
{
	if (posted && target)
		memcpy(target_memory, posted, posted_length);
	was_stored = was_stored || posted;
	posted = NULL;
}

static ssize_t double_readerr(struct fid_cq *cq, struct fi_cq_err_entry *error,
			      uint64_t flags)
{
	if (!is_closed || !ofi_double.ends_access)
		return real_cq_ops->readerr(cq, error, flags);
	has_failed = false;
	error->err = failed_error;
	error->op_context = failed_context;
	return 1;
}

/* Is the bit of these two domains set? */
static bool is_of(uint64_t bits)
{
	const unsigned int number = (domains - 1) / 2;

	return number < 64 && bits >> number & 1;
}

static bool is_idle(void)
{
	return ofi_double.makes_no_progress || has_stopped || delayed;
}

bool ofi_double_is_idle(void)
{
	return is_idle() || was_turned_away || was_stored;
}

static ssize_t double_read(struct fid_cq *cq, void *buf, size_t count)
{
	if (is_idle()) {
		delayed -= delayed > 0;
		return -FI_EAGAIN;
	}
	if (is_closed && ofi_double.ends_access)
		return cq == writer_cq && has_failed && now_ms() >= refused_at ?
			       -FI_EAVAIL : -FI_EAGAIN;
	drive_kept();
	store_at_once();
	return real_cq_ops->read(cq, buf, count);
}

/* A file of a driver that any user may open, and that is neither memory nor a
 * terminal; or -1. */
static int open_a_device(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	return fd < 0 ? open("/dev/net/tun", O_RDWR | O_CLOEXEC) : fd;
}

bool ofi_double_has_device(void)
{
	int fd = open_a_device();

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int old_key_error(void)
{
	if (ofi_double.cancels && !is_renewed)
		return FI_ECANCELED;
	return ofi_double.old_key_error ? ofi_double.old_key_error : FI_EIO;
}

static ssize_t double_write(struct fid_ep *ep, const void *buf, size_t length,
			    void *desc, fi_addr_t to, uint64_t addr, uint64_t key,
			    void *context)
{
	ssize_t ret;

	was_stored = false;
	was_turned_away = is_of(ofi_double.unconnected) ||
			  (is_closed && is_of(ofi_double.disconnects));
	if (was_turned_away)
		return ofi_double.post_error ? ofi_double.post_error : -FI_EAGAIN;
	failed_context = context;
	if (is_closed && ofi_double.ends_access) {
		refuse(old_key_error());
		return 0;
	}
	if (length <= ofi_double.at_once) {
		posted = buf;
		posted_length = length;
		return 0;
	}
	ret = real_rma_ops->write(ep, buf, length, desc, to, addr, key, context);
	if (!ret)
		has_stopped = ofi_double.stops_at_a_post && !is_of(ofi_double.lively);
	if (!ret && ofi_double.opens_a_device && device < 0)
		device = open_a_device();
	return ret;
}

/* ----------------------------------------------------------------------- open */

static int double_cq_open(struct fid_domain *domain, struct fi_cq_attr *attr,
			  struct fid_cq **cq, void *context)
{
	int ret = real_domain_ops->cq_open(domain, attr, cq, context);

	if (ret)
		return ret;
	take_over(&(*cq)->fid);
	if (!real_cq_ops) {
		real_cq_ops = (*cq)->ops;
		cq_ops = *(*cq)->ops;
		cq_ops.read = double_read;
		cq_ops.readerr = double_readerr;
	}
	(*cq)->ops = &cq_ops;
	writer_cq = *cq;
	return 0;
}

static int double_av_open(struct fid_domain *domain, struct fi_av_attr *attr,
			  struct fid_av **av, void *context)
{
	int ret = real_domain_ops->av_open(domain, attr, av, context);

	if (!ret)
		take_over(&(*av)->fid);
	return ret;
}

static int double_endpoint(struct fid_domain *domain, struct fi_info *info,
			   struct fid_ep **ep, void *context)
{
	int ret = ofi_double.endpoint_error;

	(void)info;
	if (!ret)
		ret = real_domain_ops->endpoint(domain,
						 real_info, ep, context);
	if (ret)
		return ret;
	take_over(&(*ep)->fid);
	if (!real_rma_ops) {
		real_rma_ops = (*ep)->rma;
		rma_ops = *(*ep)->rma;
		rma_ops.write = double_write;
	}
	(*ep)->rma = &rma_ops;
	is_renewed = is_closed;
	return 0;
}

static int double_register(struct fid *fid, const void *buf, size_t length,
			   uint64_t access, uint64_t offset, uint64_t key,
			   uint64_t flags, struct fid_mr **mr, void *context)
{
	unsigned int at;
	int ret;

	if (ofi_double.regions_max && regions >= ofi_double.regions_max)
		return -FI_ENOSPC;
	ret = real_mr_ops->reg(fid, buf, length, access, offset, key, flags, mr,
			       context);
	if (ret)
		return ret;
	regions++;
	if (access & FI_REMOTE_WRITE) {
		target = &(*mr)->fid;
		target_memory = (void *)(uintptr_t)buf;
	}
	for (at = 0; at < KEPT_MAX - 1 && region[at] && region[at] != &(*mr)->fid;)
		at++;
	region[at] = &(*mr)->fid;
	region_domain[at] = fid;
	take_over(&(*mr)->fid);
	return 0;
}

static int double_domain(struct fid_fabric *of, struct fi_info *info,
			 struct fid_domain **domain, void *context)
{
	int ret = real_fabric->ops->domain(real_fabric, real_info, domain,
					   context);

	(void)of;
	(void)info;
	if (ret)
		return ret;
	has_stopped = is_closed = was_turned_away = was_stored = false;
	delayed = ofi_double.start;
	domains++;
	open_domains++;
	posted = NULL;
	take_over(&(*domain)->fid);
	if (!real_domain_ops) {
		real_domain_ops = (*domain)->ops;
		domain_ops = *(*domain)->ops;
		domain_ops.cq_open = double_cq_open;
		domain_ops.av_open = double_av_open;
		domain_ops.endpoint = double_endpoint;
		real_mr_ops = (*domain)->mr;
		mr_ops = *(*domain)->mr;
		mr_ops.reg = double_register;
	}
	(*domain)->ops = &domain_ops;
	(*domain)->mr = &mr_ops;
	return 0;
}

struct fid_fabric *ofi_double_open(const struct fi_info *info)
{
	if (fi_fabric(info->fabric_attr, &real_fabric, NULL))
		return NULL;
	real_info = fi_dupinfo(info);
	if (!real_info)
		abort();
	regions = domains = open_domains = 0;
	fabric = *real_fabric;
	fabric_ops = *real_fabric->ops;
	fabric_ops.domain = double_domain;
	fabric.ops = &fabric_ops;
	return &fabric;
}

int ofi_double_close(void)
{
	int ret = 0, one;

	ofi_double = (struct ofi_double){ 0 };
	has_stopped = is_closed = was_turned_away = was_stored = false;
	delayed = 0;
	if (device >= 0)
		close(device);
	device = -1;
	/* The regions were closed before their endpoints. */
	for (unsigned int i = 0; i < kept_count; i++) {
		one = real_ops[kept[i]->fclass]->close(kept[i]);
		ret = ret ? ret : one;
	}
	kept_count = 0;
	fi_freeinfo(real_info);
	one = fi_close(&real_fabric->fid);
	return ret ? ret : one;
}
