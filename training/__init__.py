"""Trains the micro Wan models of ``models/`` on procedurally made clips; the node pack never loads this folder."""
