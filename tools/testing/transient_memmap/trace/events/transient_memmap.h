/* SPDX-License-Identifier: GPL-2.0 */
/* The tracepoints: stubbed. */
#define trace_transient_memmap_populate(...)	do { } while (0)
#define trace_transient_memmap_free(...)	do { } while (0)
#define trace_transient_memmap_fail(...)	do { } while (0)
