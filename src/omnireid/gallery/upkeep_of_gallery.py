"""The part of a gallery that keeps it in order: what is in it, what is wrong, erasing, joining files."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from omnireid.gallery.audit import AuditEntry, log_action, now_after, read_audit
from omnireid.gallery.checking import CheckReport, check_gallery
from omnireid.gallery.deciding import read_people
from omnireid.gallery.decision_writing import apply_decisions, unwritten_names
from omnireid.gallery.erasure import ErasureReceipt, erase, finish_erasure
from omnireid.gallery.index import OptimizeReport, compact_tables, optimize_gallery
from omnireid.gallery.info import GalleryInfo, describe_gallery
from omnireid.gallery.options import ErasureOptions
from omnireid.gallery.people_of_gallery import PeopleOfGallery
from omnireid.gallery.schema import write_facts
from omnireid.gallery.stored_files import stored_bytes
from omnireid.retrieval.calibration import Calibration
from omnireid.types import check_whole_number


class UpkeepOfGallery(PeopleOfGallery):
    """What `omnireid.Gallery` inherits to be kept in order. It has no state of its own."""

    def info(self) -> GalleryInfo:
        """What the gallery is: its model, its size, its people, cameras and times."""
        return describe_gallery(self.database, self.facts, self._newest().sightings)

    def check(self) -> CheckReport:
        """Read everything, and list what is wrong."""
        return check_gallery(self.database, self.facts)

    def audit(self) -> list[AuditEntry]:
        """Who searched, changed and removed what, oldest first."""
        _ = self.facts
        return read_audit(self.database)

    def optimize(self) -> OptimizeReport:
        """Join small files, delete old versions, and make an index where it is faster than comparing every sighting.

        The index is measured against the exact answer, with and without a filter, and kept only where it finds at
        least 98 % of the true nearest ten. Searches keep to the choice until the next `optimize`; sightings that are
        added meanwhile are found too.

        Raises:
            DiskFullError: there is no room; the gallery is as it was.
        """
        _ = self.facts
        before = stored_bytes(self.database)
        self._snapshot.clear()  # it takes as much memory as what is read now
        with self.database.sole_writer():
            report = optimize_gallery(self.database, finish_erasure(self.database, self.facts))
        return replace(report, bytes_before=before, bytes_after=stored_bytes(self.database))

    def finish_decisions(self) -> int:
        """Write the names that a killed decision left unwritten; returns how many sightings got theirs."""
        if not unwritten_names(self.database):  # nobody waits for nothing
            return 0
        with self.database.sole_writer():
            return apply_decisions(self.database)

    def tidy(self) -> None:
        """Join small files and delete old versions, as `optimize` does, but leave the index as it is."""
        with self.database.sole_writer():
            compact_tables(self.database)

    def remove(self, options: ErasureOptions) -> ErasureReceipt:
        """Erase sightings: rows, old versions, and their names in the log.

        What is left of the gallery is written anew, so this needs as much free space as it takes, and memory for all
        embeddings. Copies, backups and the pictures themselves are not touched.

        Args:
            options: Which sightings, and whether the same crops are refused from now on.

        Returns:
            The receipt, signed by the gallery. Nothing of it is kept in the gallery but a count and the signature.

        Raises:
            FilterError: no sightings are chosen, or the filter is none.
            GalleryError: nobody has one of the names, so nothing was erased; or something of the sightings is left.
            DiskFullError: there is no room to write what is left; nothing was erased.
        """
        which = options.filter
        with self.database.sole_writer():
            before = self.facts
            if not before.erasing:  # else whom a stopped erasure was for is gone already
                people = read_people(self.database)
                for name in which.persons:
                    people.key(name)
            receipt = erase(self.database, finish_erasure(self.database, before), which, block=options.block)
        self._snapshot.clear()
        return receipt

    def retain(self, days: int, *, block: bool = False) -> ErasureReceipt:
        """Erase all sightings that are older than `days` days. Those without a time stay.

        Raises:
            SettingError: `days` is below 0.
            GalleryError: the clock is behind the gallery's log, so nobody knows how old a sighting is.
        """
        check_whole_number(days, "days", least=0)
        now = now_after(self.audit(), self.database.uri)
        before = (now - timedelta(days=days)).isoformat(timespec="seconds")
        return self.remove(ErasureOptions(before=before, block=block))

    def is_own_receipt(self, receipt: ErasureReceipt) -> bool:
        """Whether this gallery signed a receipt, and nothing in it was changed since."""
        return receipt == receipt.signed(self.facts.salt)

    def set_calibration(self, calibration: Calibration | None) -> None:
        """Keep a calibration of the gallery's model with it, so that a search gives probabilities; None removes it.

        Raises:
            CalibrationError: it is for other weights, another preprocessing or another distance.
        """
        with self.database.sole_writer():
            facts = self.facts
            if calibration is not None:
                model = facts.model
                calibration.check_weights(model.weights_sha256, model.preprocessing, model.distance)
            write_facts(self.database, replace(facts, calibration=None if calibration is None else calibration.json()))
            log_action(self.database, "calibrate", {"removed": calibration is None})
