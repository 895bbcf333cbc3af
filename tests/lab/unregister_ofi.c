/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unregister_ofi [PROVIDER [endpoint|refused]]: is the fi_close() of a memory region a
 * barrier (docs/rdma.md R10)? Two endpoints of this process are a target and a peer,
 * which writes 64 MiB. After a sixteenth of it the target closes its region, with
 * `endpoint` also its endpoint, and counts what arrives later; then the peer writes
 * with the old key. With `refused` instead, the peer writes with a key of no region,
 * closes its endpoint during that, and writes over another one with the right key: is
 * there a result? PROVIDER is a name that fi_info prints, `tcp;ofi_rxm` without one.
 * OFI_SOURCE=ADDRESS is the address to use instead of 127.0.0.1.
 */
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include "unregister.h"

#define MUST(call) must((int)(call), #call)
#define MR_MODE                                                             \
	(FI_MR_ALLOCATED | FI_MR_VIRT_ADDR | FI_MR_PROV_KEY | FI_MR_LOCAL | \
	 FI_MR_ENDPOINT)

struct side {
	struct fi_info *info;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	struct fid_av *av;
	struct fid_cq *cq;
	struct fid_ep *ep;
	struct fid_mr *mr;
};

static struct side near, far;
static fi_addr_t near_address;

static void must(int result, const char *call)
{
	require(!result, call, fi_strerror(-result));
}

static void open_side(struct side *side, const char *provider)
{
	const char *source_address = getenv("OFI_SOURCE");
	struct fi_info *hints = fi_allocinfo();
	struct fi_cq_attr cq = { .format = FI_CQ_FORMAT_CONTEXT, .size = 64 };
	struct fi_av_attr av = { .type = FI_AV_TABLE };

	require(hints != NULL, "fi_allocinfo", "no memory");
	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_RMA | FI_MSG;
	hints->domain_attr->mr_mode = MR_MODE;
	hints->fabric_attr->prov_name = strdup(provider);
	MUST(fi_getinfo(FI_VERSION(1, 17),
			source_address ? source_address : "127.0.0.1", NULL,
			FI_SOURCE, hints, &side->info));
	MUST(fi_fabric(side->info->fabric_attr, &side->fabric, NULL));
	MUST(fi_domain(side->fabric, side->info, &side->domain, NULL));
	MUST(fi_av_open(side->domain, &av, &side->av, NULL));
	MUST(fi_cq_open(side->domain, &cq, &side->cq, NULL));
	MUST(fi_endpoint(side->domain, side->info, &side->ep, NULL));
	MUST(fi_ep_bind(side->ep, &side->av->fid, 0));
	MUST(fi_ep_bind(side->ep, &side->cq->fid, FI_TRANSMIT | FI_RECV));
	MUST(fi_enable(side->ep));
	fi_freeinfo(hints);
}

static void register_memory(struct side *side, void *memory, uint64_t access,
			    uint64_t key)
{
	MUST(fi_mr_reg(side->domain, memory, BYTES, access, 0, key, 0,
		       &side->mr, NULL));
	if (!(side->info->domain_attr->mr_mode & FI_MR_ENDPOINT))
		return;
	MUST(fi_mr_bind(side->mr, &side->ep->fid, 0));
	MUST(fi_mr_enable(side->mr));
}

static void open_far(const char *provider)
{
	char name[256];
	size_t size = sizeof(name);

	open_side(&far, provider);
	MUST(fi_getname(&near.ep->fid, name, &size));
	require(fi_av_insert(far.av, name, 1, &near_address, 0, NULL) == 1,
		"fi_av_insert", "failed");
	register_memory(&far, source, FI_WRITE | FI_READ, 8);
}

static void open_both(const char *provider)
{
	open_side(&near, provider);
	register_memory(&near, target, FI_REMOTE_WRITE | FI_REMOTE_READ, 7);
	open_far(provider);
}

static void close_far(void)
{
	MUST(fi_close(&far.mr->fid));
	MUST(fi_close(&far.ep->fid));
	MUST(fi_close(&far.cq->fid));
	MUST(fi_close(&far.av->fid));
	MUST(fi_close(&far.domain->fid));
	MUST(fi_close(&far.fabric->fid));
	fi_freeinfo(far.info);
}

/* Both sides make progress. Returns 1 if the peer's write succeeded, or -error. */
static int step(void)
{
	struct fi_cq_err_entry error = { .err = 0 };
	struct fi_cq_entry entry;
	ssize_t count;

	if (near.cq)
		fi_cq_read(near.cq, &entry, 1);
	count = fi_cq_read(far.cq, &entry, 1);
	if (count == 1)
		return 1;
	if (count != -FI_EAVAIL)
		return 0;
	fi_cq_readerr(far.cq, &error, 0);
	return error.err ? -error.err : -FI_EOTHER;
}

/* Returns 0, or -error if the write could not be posted. */
static int post_write(unsigned char value, uint64_t key)
{
	uint64_t address = near.info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ?
				   (uintptr_t)target :
				   0;
	double end = now() + 10;
	ssize_t result;

	memset(source, value, BYTES);
	do {
		result = fi_write(far.ep, source, BYTES, fi_mr_desc(far.mr),
				  near_address, address, key, NULL);
		if (result == -FI_EAGAIN)
			step();
	} while (result == -FI_EAGAIN && now() < end);
	return (int)result;
}

static const char *name_of(int result)
{
	return result == 1 ? "succeeded" :
	       result	   ? fi_strerror(-result) :
			     "did not complete";
}

/* Returns how many bytes arrived after the close. */
static uint64_t close_during_a_write(uint64_t key, bool endpoint)
{
	uint64_t before, late;
	int result;

	MUST(post_write(0x22, key));
	await_part(step, 0x22);
	MUST(fi_close(&near.mr->fid));
	if (endpoint) {
		MUST(fi_close(&near.ep->fid));
		fi_close(&near.cq->fid);
		near.cq = NULL;
	}
	before = arrived(0x22);
	result = await_write(step, 0x22);
	late = arrived(0x22) - before;
	printf("fi_close() of the region%s after %llu bytes: %llu bytes arrived later; the write %s\n",
	       endpoint ? " and the endpoint" : "", (unsigned long long)before,
	       (unsigned long long)late, name_of(result));
	return late;
}

static void write_after_a_refused_one(const char *provider, uint64_t key)
{
	int result;

	MUST(post_write(0x22, key + 1));
	for (int i = 0; i < 100; i++)
		step();
	close_far();
	open_far(provider);
	MUST(post_write(0x33, key));
	result = await_write(step, 0x33);
	printf("a write after one that was refused and cut off: %s, %llu bytes arrived\n",
	       name_of(result), (unsigned long long)arrived(0x33));
}

int main(int argc, char **argv)
{
	const char *provider = argc > 1 ? argv[1] : "tcp;ofi_rxm";
	bool refused = argc > 2 && !strcmp(argv[2], "refused");
	bool endpoint = argc > 2 && !strcmp(argv[2], "endpoint");
	int result;
	uint64_t key;

	make_memory();
	open_both(provider);
	key = fi_mr_key(near.mr);
	MUST(post_write(0x11, key));
	require(await_write(step, 0x11) == 1 && arrived(0x11) == BYTES,
		"the first write", "did not arrive");
	printf("libfabric %u.%u, %s\n", FI_MAJOR(fi_version()),
	       FI_MINOR(fi_version()), provider);
	if (refused)
		write_after_a_refused_one(provider, key);
	else
		close_during_a_write(key, endpoint);
	if (refused || endpoint)
		return 0;
	result = post_write(0x33, key);
	result = result ? result : await_write(step, 0x33);
	printf("a write with the old key: %s, %llu bytes arrived\n",
	       name_of(result), (unsigned long long)arrived(0x33));
	return 0;
}
