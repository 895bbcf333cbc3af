/* SPDX-License-Identifier: BSD-3-Clause */
/* Replaces doctor_rdma.c in a build without libibverbs. */
#include "doctor.h"

void doctor_rdma(struct doctor *doctor)
{
	doctor_report(doctor, (struct answer) {
		.subject = SUBJECT_RDMA, .verdict = VERDICT_UNKNOWN,
		.needed = doctor->rdma != NULL,
		.remedy = "build daxpin with libibverbs",
	}, "this daxpin was built without RDMA");
}
