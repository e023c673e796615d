"""Dataset directories to batches of rays: layouts, dataparser, dataset, datamanager, pixel sampler."""
